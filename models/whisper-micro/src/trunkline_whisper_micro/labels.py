"""What the decoder is to say of a clip, and the characters that the encoder is to hear in it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from random import Random
from typing import Final

from trunkline_phrases import Language, spoken
from trunkline_whisper_micro.clips import Clip
from trunkline_whisper_micro.tokens import Tokens

_ALPHABET: Final = "' abcdefghijklmnopqrstuvwxyzáàâäçéèêëíîïñóôöœúùûüß"
BLANK: Final = 0
CHARACTERS: Final = len(_ALPHABET) + 1
STAMPED: Final = 0.5
"""How often time stamps are asked for in training."""
PROMPTED: Final = 0.1
"""How often some words, among them some of what is said, stand before the transcript, as hints do."""
_HINTS: Final = 6


@dataclass(frozen=True, slots=True)
class Said:
    """One segment: its times and its text as ids."""

    start_s: float
    end_s: float
    text: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Label:
    """All there is to learn of a clip."""

    language: Language
    segments: tuple[Said, ...]
    characters: tuple[int, ...]
    """Of its spoken form, for CTC; empty when nobody speaks."""

    @classmethod
    def of(cls, clip: Clip, tokens: Tokens) -> "Label":
        segments = tuple(
            Said(segment.start_s, segment.end_s, tuple(tokens.encode(" " + segment.text)))
            for segment in clip.segments
        )
        return cls(clip.language, segments, characters(spoken(clip.text, clip.language)))

    def sequence(self, tokens: Tokens, stamped: bool) -> list[int]:
        """From the start of the transcript to its end. With stamps, silence is a start that has no end."""
        special = tokens.special
        ids = [special["<|startoftranscript|>"], tokens.language(self.language), special["<|transcribe|>"]]
        if not stamped:
            ids.append(special["<|notimestamps|>"])
        elif not self.segments:
            ids.append(tokens.first_stamp)
        for segment in self.segments:
            if stamped:
                ids += [tokens.stamp(segment.start_s), *segment.text, tokens.stamp(segment.end_s)]
            else:
                ids += segment.text
        return [*ids, special["<|endoftext|>"]]

    def hints(self, tokens: Tokens, rng: Random, others: Sequence["Label"]) -> list[int]:
        """A prompt before the transcript: a few pieces of this clip's text and of others'."""
        pool = [segment.text for label in (self, *others) for segment in label.segments]
        rng.shuffle(pool)
        ids = [tokens.special["<|startofprev|>"]]
        for text in pool[:_HINTS]:
            first = rng.randrange(len(text))
            ids += text[first : first + rng.randint(2, 6)]
        return ids


def characters(text: str) -> tuple[int, ...]:
    """A spoken form as numbers from 1; a character of no language is left out."""
    return tuple(_numbers()[letter] for letter in text if letter in _numbers())


@cache
def _numbers() -> dict[str, int]:
    return {letter: place + 1 for place, letter in enumerate(_ALPHABET)}
