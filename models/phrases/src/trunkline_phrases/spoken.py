"""The spoken form of a text, for word error rates: lower case, no punctuation."""

import re
import unicodedata
from typing import Final

from trunkline_phrases.languages import Language

_APOSTROPHES: Final = str.maketrans("\u2019\u02bc`", "'''")
_WORD: Final = re.compile(r"[^\W_]+(?:'[^\W_]+)*'?")
_FRENCH_WORD: Final = re.compile(r"aujourd'hui|[^\W_]+'?")
"""An elided word is a word: l'hôtel is l' and hôtel."""


def words(text: str, language: Language) -> list[str]:
    """The words of a text as they are spoken; compounds with a hyphen are several."""
    text = unicodedata.normalize("NFC", text).translate(_APOSTROPHES).lower()
    if language == "fr":
        return _FRENCH_WORD.findall(text)
    return [word.rstrip("'") for word in _WORD.findall(text)]


def spoken(text: str, language: Language) -> str:
    """The words with single spaces between them. Idempotent: a spoken form is its own."""
    return " ".join(words(text, language))
