"""Who says what, in a session."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from trunkline_speech.embedding import Embedding, Vectors
from trunkline_speech.recogniser import Samples
from trunkline_speech.transcript import Word
from trunkline_speech.turns import Turn, embed, turn_of, turns

MOST_SPEAKERS: Final = 10
NEW_SPEAKER_S: Final = 1.5
"""A shorter turn is too little to tell a stranger by: it is given to the known voice that is closest."""
LEARN_S: Final = 1.0
"""A shorter turn teaches nothing about its speaker's voice."""


class StateError(ValueError):
    """The state is another embedding's, or none at all."""


@dataclass(slots=True)
class Diarizer:
    """Tells the speakers of one session apart, as they speak. One call at a time.

    Online clustering of turns around one voice a speaker: nobody's number ever changes, so a mistake stays.
    """

    embedding: Embedding
    max_speakers: int
    """From 1; whoever speaks after so many is taken for one of them."""
    _voices: Vectors = field(init=False)

    def __post_init__(self) -> None:
        if not 1 <= self.max_speakers <= MOST_SPEAKERS:
            raise ValueError(f"max_speakers must be 1 to {MOST_SPEAKERS}, not {self.max_speakers}")
        self._voices = np.empty((0, self.embedding.dimension), np.float32)

    async def tag(self, samples: Samples, start: int, words: Sequence[Word]) -> tuple[Word, ...]:
        """The words of a final segment, each with its speaker. Cancelled, it has learnt nothing.

        Args:
            samples: the audio of the segment.
            start: position of the first of them, on the clock of the words.
            words: in order.
        """
        said, self._voices = await asyncio.to_thread(self._told, samples, start, words, self._voices)
        return said

    def state(self) -> bytes:
        """All that it knows, for `restored`: a line of JSON, then a vector a speaker. Some kilobytes at most."""
        head = {
            "embedding": self.embedding.name,
            "max_speakers": self.max_speakers,
            "speakers": len(self._voices),
        }
        return json.dumps(head).encode() + b"\n" + self._voices.astype("<f4").tobytes()

    @classmethod
    def restored(cls, embedding: Embedding, state: bytes) -> Diarizer:
        """The one whose `state` this is.

        Raises:
            StateError: it was made with another embedding, or is damaged.
        """
        head, _, body = state.partition(b"\n")
        try:
            told = json.loads(head)
            if told["embedding"] != embedding.name:
                raise StateError(f"voices of {told['embedding']} mean nothing to {embedding.name}")
            restored = cls(embedding, told["max_speakers"])
            restored._voices = (
                np.frombuffer(body, "<f4").reshape(told["speakers"], embedding.dimension).astype(np.float32)
            )
        except StateError:
            raise
        except (ValueError, TypeError, KeyError) as error:
            raise StateError("damaged state of speakers") from error
        if len(restored._voices) > restored.max_speakers or not np.isfinite(restored._voices).all():
            raise StateError("damaged state of speakers")
        return restored

    def _told(
        self, samples: Samples, start: int, words: Sequence[Word], voices: Vectors
    ) -> tuple[tuple[Word, ...], Vectors]:
        there = [word.moved(-start) for word in words]
        found = turns(self.embedding, samples, there)
        speakers = []
        for turn, vector in zip(found, embed(self.embedding, samples, found), strict=True):
            speaker, voices = self._heard(turn, vector[None], voices)
            speakers.append(speaker)
        return assigned(words, there, found, speakers), voices

    def _heard(self, turn: Turn, vector: Vectors, voices: Vectors) -> tuple[int, Vectors]:
        if not len(voices):
            return 1, vector
        apart = self.embedding.distances(vector, voices)[0]
        nearest = int(np.argmin(apart))
        if apart[nearest] <= self.embedding.threshold:
            if turn.seconds >= LEARN_S:
                voices = voices.copy()
                voices[nearest] = self.embedding.pool(np.concatenate([voices[nearest][None], vector]))
        elif turn.seconds >= NEW_SPEAKER_S and len(voices) < self.max_speakers:
            return len(voices) + 1, np.concatenate([voices, vector])
        return nearest + 1, voices


def assigned(
    words: Sequence[Word], there: Sequence[Word], found: Sequence[Turn], speakers: Sequence[int]
) -> tuple[Word, ...]:
    """The words, each with the speaker of the turn that it lies in for the most part, or that is closest."""
    if not found:
        return tuple(words)
    return tuple(
        replace(word, speaker=speakers[turn_of(place, found)])
        for word, place in zip(words, there, strict=True)
    )


def most_of(words: Sequence[Word]) -> int:
    """The speaker who speaks longest in them, of equals the first; 0 when nobody was told apart."""
    spoken: dict[int, int] = {}
    for word in words:
        spoken[word.speaker] = spoken.get(word.speaker, 0) + word.end - word.start
    return max(spoken, key=spoken.__getitem__, default=0)
