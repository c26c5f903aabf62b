"""Distinct texts, packed: the ids of a snapshot, and the words of its attributes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

_CHUNK = 16_384
"""Texts handled by one call into C, which keeps every other thread from running: some milliseconds."""


def hashes(texts: Sequence[str]) -> NDArray[np.uint64]:
    """64 bits of BLAKE2b of each text, the same in every process."""
    parts = [
        b"".join([hashlib.blake2b(text.encode(), digest_size=8).digest() for text in chunk])
        for chunk in chunks(texts)
    ]
    return np.frombuffer(b"".join(parts), dtype=">u8").astype(np.uint64)


def chunks(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    """The texts, some thousands at a time, so that a search need not wait for all of a build's."""
    for start in range(0, len(texts), _CHUNK):
        yield texts[start : start + _CHUNK]


@dataclass(frozen=True, slots=True)
class Texts:
    """Distinct texts in the order of their hashes.

    As one string and its offsets they load in milliseconds and take no object each. The order finds a text
    by bisection, and is unrelated to what the texts say, so that rows of vectors which lie in it are shuffled.
    """

    PARTS: ClassVar = ("text", "offsets", "hashes")
    """The arrays that `to_arrays` gives."""

    joined: str
    offsets: NDArray[np.int64]
    """Where each begins in `joined`, in characters, and where the last one ends: `[texts + 1]`."""
    hashes: NDArray[np.uint64]
    """Ascending."""

    @classmethod
    def of(cls, texts: Sequence[str]) -> Texts:
        """Packs distinct texts, whatever their order."""
        return cls.in_order([texts[row] for row in order(texts).tolist()])

    @classmethod
    def in_order(cls, texts: Sequence[str]) -> Texts:
        """Packs distinct texts that are in `order`."""
        offsets = np.zeros(len(texts) + 1, np.int64)
        lengths = [np.array([len(text) for text in chunk], np.int64) for chunk in chunks(texts)]
        if lengths:
            np.cumsum(np.concatenate(lengths), out=offsets[1:])
        return cls("".join(["".join(chunk) for chunk in chunks(texts)]), offsets, hashes(texts))

    def __len__(self) -> int:
        return len(self.hashes)

    def take(self, rows: NDArray[np.integer]) -> list[str]:
        """The texts of some rows, in that order."""
        joined = self.joined
        starts, ends = self.offsets[rows].tolist(), self.offsets[rows + 1].tolist()
        return [joined[start:end] for start, end in zip(starts, ends, strict=True)]

    def all(self) -> list[str]:
        """Every text, by row."""
        return self.take(np.arange(len(self)))

    def find(self, texts: Sequence[str]) -> NDArray[np.int64]:
        """The row of each text, -1 where it is not among them."""
        rows = np.full(len(texts), -1, np.int64)
        wanted = hashes(texts)
        first = np.searchsorted(self.hashes, wanted)
        for at, (text, row, hash_) in enumerate(zip(texts, first.tolist(), wanted.tolist(), strict=True)):
            # Texts of the same hash are neighbours: nearly always there is one, and nearly never a second.
            while row < len(self) and self.hashes[row] == hash_:
                if self.joined[self.offsets[row] : self.offsets[row + 1]] == text:
                    rows[at] = row
                    break
                row += 1
        return rows

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """What `from_arrays` takes."""
        return {
            "text": np.frombuffer(self.joined.encode(), np.uint8),
            "offsets": self.offsets,
            "hashes": self.hashes,
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Texts:
        """The texts that `to_arrays` took apart. Raises KeyError, ValueError when it did not."""
        return cls(
            arrays["text"].tobytes().decode(),
            arrays["offsets"].astype(np.int64, copy=False),
            arrays["hashes"].astype(np.uint64, copy=False),
        )


def order(texts: Sequence[str]) -> NDArray[np.int64]:
    """The order of distinct texts by hash, the same however they were ordered before."""
    keys = hashes(texts)
    rows = np.argsort(keys, kind="stable")
    same = np.flatnonzero(keys[rows[1:]] == keys[rows[:-1]])
    if same.size:  # two texts of one hash: by what they say
        rows = np.array(sorted(rows.tolist(), key=lambda row: (keys[row], texts[row])), np.int64)
    return rows
