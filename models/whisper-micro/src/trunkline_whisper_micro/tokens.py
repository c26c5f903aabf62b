"""The tokenizer: byte-level BPE (Sennrich et al., 2016; Radford et al., 2019) learned from the phrases.

Ids are bytes, then merges, then Whisper's special tokens in Whisper's order, then the time stamps. The special
ids of the published models would be silently used for any that is not said, so all are.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from random import Random
from typing import Final

from trunkline_phrases import LANGUAGES, Language, sample

STEP_S: Final = 0.02
"""Between two time stamps: one frame of the encoder."""
MERGES: Final = 640
_PIECE: Final = re.compile(
    r"'s|'t|'re|'ve|'m|'ll|'d| ?[^\W\d_]+| ?\d+| ?(?:[^\w\s]|_)+|\s+(?!\S)|\s+",
)
_SPECIAL: Final = (
    "<|endoftext|>",
    "<|startoftranscript|>",
    *(f"<|{language}|>" for language in LANGUAGES),
    "<|translate|>",
    "<|transcribe|>",
    "<|startoflm|>",
    "<|startofprev|>",
    "<|nospeech|>",
    "<|notimestamps|>",
)


def _byte_letters() -> dict[int, str]:
    """A visible letter for every byte, as GPT-2 writes them."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in shown]
    return {
        **{byte: chr(byte) for byte in shown},
        **{byte: chr(256 + place) for place, byte in enumerate(hidden)},
    }


_LETTERS: Final = _byte_letters()
_BYTES: Final = {letter: byte for byte, letter in _LETTERS.items()}


@dataclass(frozen=True)
class Tokens:
    """A vocabulary."""

    merges: tuple[tuple[str, str], ...]
    window_s: float

    @classmethod
    def learn(cls, texts: Iterable[str], window_s: float, merges: int = MERGES) -> "Tokens":
        """The merges of the most frequent pairs; ties go to the pair that comes first in the alphabet."""
        counts = Counter(piece for text in texts for piece in _PIECE.findall(" " + text))
        spelled = {piece: [_LETTERS[byte] for byte in piece.encode()] for piece in counts}
        learned: list[tuple[str, str]] = []
        while len(learned) < merges:
            pairs: Counter[tuple[str, str]] = Counter()
            for piece, letters in spelled.items():
                for pair in pairwise(letters):
                    pairs[pair] += counts[piece]
            if not pairs:
                break
            best = min(pairs, key=lambda pair: (-pairs[pair], pair))
            learned.append(best)
            spelled = {piece: _merged(letters, best) for piece, letters in spelled.items()}
        return cls(tuple(learned), window_s)

    @cached_property
    def vocabulary(self) -> dict[str, int]:
        """Bytes and merges, as vocab.json has them."""
        letters = [*_LETTERS.values(), *(first + second for first, second in self.merges)]
        return {token: place for place, token in enumerate(dict.fromkeys(letters))}

    @cached_property
    def special(self) -> dict[str, int]:
        """Everything that is no text, time stamps included."""
        stamps = (f"<|{stamp * STEP_S:.2f}|>" for stamp in range(round(self.window_s / STEP_S) + 1))
        return {token: len(self.vocabulary) + place for place, token in enumerate((*_SPECIAL, *stamps))}

    @property
    def size(self) -> int:
        return len(self.vocabulary) + len(self.special)

    @property
    def first_stamp(self) -> int:
        return self.special["<|0.00|>"]

    def stamp(self, time_s: float) -> int:
        """The time stamp next to a time in the window."""
        return self.first_stamp + round(min(max(time_s, 0.0), self.window_s) / STEP_S)

    def language(self, language: Language) -> int:
        return self.special[f"<|{language}|>"]

    @cached_property
    def _ranks(self) -> dict[tuple[str, str], int]:
        return {pair: rank for rank, pair in enumerate(self.merges)}

    @cached_property
    def _cache(self) -> dict[str, list[int]]:
        return {}

    def encode(self, text: str) -> list[int]:
        """A text as ids, without special ones. A text of a transcript begins with a space."""
        ids: list[int] = []
        for piece in _PIECE.findall(text):
            if piece not in self._cache:
                letters = [_LETTERS[byte] for byte in piece.encode()]
                while pairs := [pair for pair in pairwise(letters) if pair in self._ranks]:
                    letters = _merged(letters, min(pairs, key=self._ranks.__getitem__))
                self._cache[piece] = [self.vocabulary[letter] for letter in letters]
            ids += self._cache[piece]
        return ids

    @cached_property
    def _texts(self) -> dict[int, str]:
        return {place: token for token, place in self.vocabulary.items()}

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids; special ones say nothing."""
        letters = "".join(self._texts.get(place, "") for place in ids)
        return bytes(_BYTES[letter] for letter in letters).decode(errors="replace")

    def to_json(self) -> str:
        return json.dumps({"window_s": self.window_s, "merges": self.merges}, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> "Tokens":
        entry = json.loads(text)
        return cls(tuple((first, second) for first, second in entry["merges"]), entry["window_s"])


def learn_from_phrases(
    languages: Sequence[Language], window_s: float, sentences: int = 20_000, merges: int = MERGES
) -> Tokens:
    """The tokenizer of some languages, from sentences of the training split."""
    rng = Random(0)
    texts = (
        sample(rng, "train", (language,)).texts[language] for language in languages for _ in range(sentences)
    )
    return Tokens.learn(texts, window_s, merges)


def _merged(letters: list[str], pair: tuple[str, str]) -> list[str]:
    merged: list[str] = []
    place = 0
    while place < len(letters):
        if place + 1 < len(letters) and (letters[place], letters[place + 1]) == pair:
            merged.append(letters[place] + letters[place + 1])
            place += 2
        else:
            merged.append(letters[place])
            place += 1
    return merged
