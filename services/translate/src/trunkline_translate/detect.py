"""Which language a text is in: py3langid (naive Bayes over n-grams of bytes; Lui and Baldwin, ACL 2012).

Chosen over lingua 2.1.1, which was right less often on the same sentences, took longer for them, and is 96 MB instead of
4.6: `python -m bench translate_language` measures both.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from py3langid.langid import MODEL_FILE, LanguageIdentifier

_NOISE = re.compile(r"https?://\S+|www\.\S+|(?<!\S)[^\s@]+@[^\s.]+\.\S+|[\d_\ue000-\uf8ff]+")
"""What tells nothing: addresses of the net, digits, placeholders. Nothing in it matches one stretch of text in several
ways: a sentence of `@` alone held up everybody else."""
_ENOUGH = 1000
"""Characters that are looked at."""


@dataclass(frozen=True, slots=True)
class Detected:
    """A language that a text may be in."""

    code: str
    """ISO 639-1, such as `en`."""
    confidence: float
    """0 to 1; those of all languages add up to 1."""


class Detector:
    """Tells languages apart. The model is loaded here: a second or two, so make it before the server is ready.

    Args:
        languages: the only ones that it answers, ISO 639-1.

    Raises:
        ValueError: one of them is unknown to the model; it is named.
    """

    def __init__(self, languages: Iterable[str]) -> None:
        self.languages = tuple(sorted(set(languages)))
        self._identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
        self._identifier.set_languages(list(self.languages))

    def detect(self, text: str) -> list[Detected]:
        """The languages a text may be in, the most likely first.

        Empty when nothing tells: no letters, or none that are more of one language than of another, as in `OK`.
        """
        words = _NOISE.sub(" ", text[:_ENOUGH]).strip()
        if not any(character.isalpha() for character in words):
            return []
        ranking = [Detected(code, float(share)) for code, share in self._identifier.rank(words)]
        if len(ranking) > 1 and ranking[0].confidence == ranking[-1].confidence:
            return []
        return ranking
