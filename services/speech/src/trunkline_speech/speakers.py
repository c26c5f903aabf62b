"""Who says what, in a session."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from trunkline_speech.embedding import Embedding
from trunkline_speech.recogniser import Samples
from trunkline_speech.transcript import Word

MOST_SPEAKERS = 10


class StateError(ValueError):
    """The state is of another embedding, or none."""


@dataclass(slots=True)
class Diarizer:
    """Tells the speakers of one session apart. One call at a time.

    A speaker keeps the number that its first speech got.
    """

    embedding: Embedding
    max_speakers: int
    _state: bytes = field(default=b"", init=False)

    async def tag(self, samples: Samples, start: int, words: tuple[Word, ...]) -> tuple[Word, ...]:
        """The words of a final segment, each with its speaker. Cancelled, it has learnt nothing.

        Args:
            samples: the audio of the segment.
            start: where on the session's clock they begin.
            words: in order, on the session's clock.
        """
        return await asyncio.to_thread(lambda: words)

    def state(self) -> bytes:
        """All that it knows, for `restored`; at most a few kilobytes."""
        return self._state

    @classmethod
    def restored(cls, embedding: Embedding, state: bytes) -> Diarizer:
        """The one whose `state` this is.

        Raises:
            StateError: it was made with another embedding, or is damaged.
        """
        return cls(embedding, 1)


async def tag_recording(
    embedding: Embedding, samples: Samples, words: tuple[Word, ...], max_speakers: int
) -> tuple[Word, ...]:
    """The words of a whole recording, each with its speaker: better than a `Diarizer`, which cannot look ahead."""
    return await asyncio.to_thread(lambda: words)


def most_of(words: tuple[Word, ...]) -> int:
    """The speaker who speaks longest in them; 0 when nobody was told apart."""
    return 0
