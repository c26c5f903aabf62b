"""Which language a text is in: py3langid (naive Bayes over n-grams of bytes; Lui and Baldwin, ACL 2012)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from py3langid.langid import MODEL_FILE, LanguageIdentifier

_NO_LETTER = re.compile(r"[\W\d_\ue000-\uf8ff]+")
_URL = re.compile(r"https?://\S+|www\.\S+|\S+@\S+")


@dataclass(frozen=True, slots=True)
class Detected:
    """A language that a text may be in."""

    code: str
    """ISO 639-1, such as `en`."""
    confidence: float
    """0 to 1; those of all languages add up to 1."""


class Detector:
    """Tells languages apart. The model is loaded here: seconds, so make it before the server is ready.

    Args:
        languages: the only ones that it answers, ISO 639-1.
    """

    def __init__(self, languages: Iterable[str]) -> None:
        self.languages = tuple(sorted(set(languages)))
        self._identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
        self._identifier.set_languages(list(self.languages))

    def detect(self, text: str) -> list[Detected]:
        """The languages a text may be in, the most likely first; empty when nothing tells (no letters)."""
        words = _NO_LETTER.sub(" ", _URL.sub(" ", text)).strip()
        if not words:
            return []
        return [Detected(code, float(share)) for code, share in self._identifier.rank(words)]
