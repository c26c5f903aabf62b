"""Whether what an engine answered may be a translation at all."""

from __future__ import annotations

from dataclasses import dataclass

from trunkline_translate.detect import Detector
from trunkline_translate.language import Direction


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong with an answer."""

    name: str
    """`empty`, `placeholders`, `script`, `language`, `echo`, `preamble` or `length`: short, for metrics and logs."""
    hard: bool
    """True: it must not be given as a translation. False: it is given, marked, when no engine has a better one."""


class Checks:
    """The checks after generation.

    Args:
        detector: of the server's languages.
    """

    def __init__(self, detector: Detector) -> None:
        self._detector = detector

    def find(
        self, source: str, answer: str, direction: Direction, *, finished: bool = True
    ) -> Finding | None:
        """The worst that is wrong with an answer, or None.

        Args:
            source: the sentence as the engine was asked it, placeholders included (`Ask.text`).
            answer: what the engine said, placeholders included: before they are put back.
            direction: of the translation.
            finished: False when the answer was cut for its length: how long it is tells nothing then.
        """
        if not answer.strip():
            return Finding("empty", hard=True)
        if _placeholders(source) != _placeholders(answer):
            return Finding("placeholders", hard=True)
        return None


def _placeholders(text: str) -> list[str]:
    return sorted(character for character in text if "\ue000" <= character <= "\uf8ff")
