"""What a session lacks right now."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Final

from trunkline_speech.events import Degraded

INTERVAL_STRETCHED: Final = "interval_stretched"
RESUME_UNAVAILABLE: Final = "resume_unavailable"
SPEAKERS_UNAVAILABLE: Final = "speakers_unavailable"
WORD_TIMES_ESTIMATED: Final = "word_times_estimated"

_SENTENCES: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        INTERVAL_STRETCHED: (
            "Recognition cannot follow: interim results come less often. No audio is lost.",
            "Interim results come as often as they should again.",
        ),
        RESUME_UNAVAILABLE: (
            "The session store does not answer: if this stream breaks off, the session cannot be resumed.",
            "The session can be resumed again.",
        ),
        SPEAKERS_UNAVAILABLE: (
            "Speakers could not be told apart.",
            "Speakers are told apart again.",
        ),
        "device_lost": (
            "A device failed; recognition goes on on the next one.",
            "Recognition runs on its first device again.",
        ),
    }
)


class Degradations:
    """The degradations of one session, each said when it begins and when it is over."""

    def __init__(self) -> None:
        self._own: dict[str, None] = {}
        self._heard: dict[str, None] = {}

    @property
    def active(self) -> tuple[str, ...]:
        """Those in force."""
        return tuple(self._own | self._heard)

    def change(self, name: str, active: bool) -> Iterator[Degraded]:
        """Sets one of the session's own; what there is to say about it."""
        if active != (name in self._own):
            if active:
                self._own[name] = None
            else:
                del self._own[name]
            yield _said(name, active)

    def heard(self, names: Iterable[str]) -> Iterator[Degraded]:
        """Sets those of the recogniser's last answer; what there is to say about them."""
        before, self._heard = self._heard, dict.fromkeys(names)
        for name in self._heard:
            if name not in before:
                yield _said(name, True)
        for name in before:
            if name not in self._heard:
                yield _said(name, False)


def _said(name: str, active: bool) -> Degraded:
    begun, over = _SENTENCES.get(name, (f"From now on: {name}.", f"No longer: {name}."))
    return Degraded(name, active, begun if active else over)
