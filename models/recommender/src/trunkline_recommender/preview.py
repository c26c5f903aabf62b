"""Readers and new books to show the recommender with: `preview.json`.

preview = Preview.open(artifact.directory(), datetime.now(UTC))
for reader in preview.readers:            # none of them was trained on
    for row in rows(reader.id, reader.log, shelf, length): ...write it
for new in preview.new_books:             # not in items.json: content features -> item tower -> index
    ...new.book, new.liked_by
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from trunkline_recommender import artifact
from trunkline_recommender.books import Book
from trunkline_recommender.history import Rated
from trunkline_recommender.ratings import DAY_US, Ratings

READERS = 40


@dataclass(frozen=True, slots=True)
class Reader:
    """A reader's past, and what comes next."""

    id: str
    log: tuple[Rated, ...]
    """In order of time; books of items.json only."""
    next_liked: tuple[str, ...]
    """Ids of the books of items.json that the reader liked after that, not in the log."""


@dataclass(frozen=True, slots=True)
class NewBook:
    """A book that came out after training."""

    book: Book
    liked_by: tuple[str, ...]
    """Ids of those of the preview's readers who will like it."""


@dataclass(frozen=True, slots=True)
class Preview:
    """What `preview.json` holds."""

    readers: tuple[Reader, ...]
    new_books: tuple[NewBook, ...]

    @classmethod
    def open(cls, place: Path, now: datetime) -> "Preview":
        """The preview of an artefact, moved by whole days so that its newest event is just before `now`.

        Raises:
            OSError: when there is none.
        """
        document = json.loads((place / artifact.PREVIEW).read_text())
        newest = max(time_us for reader in document["readers"] for _, _, time_us in reader["log"])
        shift_us = (int(now.timestamp() * 1_000_000) - newest - 1) // DAY_US * DAY_US
        return cls(
            readers=tuple(
                Reader(
                    reader["id"],
                    tuple(Rated(book, stars, time_us + shift_us) for book, stars, time_us in reader["log"]),
                    tuple(reader["next_liked"]),
                )
                for reader in document["readers"]
            ),
            new_books=tuple(
                NewBook(Book.of(entry["book"]), tuple(entry["liked_by"])) for entry in document["new_books"]
            ),
        )


def draw(
    known: Ratings,
    held_out: Ratings,
    everything: Ratings,
    new: npt.NDArray[np.bool_],
    readers: npt.NDArray[np.int64],
) -> dict[str, Any]:
    """The content of `preview.json`: the first READERS of the readers, and every new book."""
    chosen = readers[:READERS]
    names = {int(reader): f"r{place:05d}" for place, reader in enumerate(chosen)}
    return {
        "readers": [
            {
                "id": name,
                "log": [
                    [known.books[book].id, stars, time_us]
                    for book, stars, time_us in zip(*_columns(known, reader), strict=True)
                ],
                "next_liked": [held_out.books[book].id for book in _columns(held_out, reader)[0]],
            }
            for reader, name in names.items()
        ],
        "new_books": [
            {
                "book": everything.books[place].item(),
                "liked_by": [
                    names[reader]
                    for reader in everything.reader[(everything.book == place) & everything.liked].tolist()
                    if reader in names
                ],
            }
            for place in np.flatnonzero(new).tolist()
        ],
    }


def _columns(ratings: Ratings, reader: int) -> Sequence[list[int]]:
    own = ratings.where(ratings.reader == reader)
    times = np.zeros(len(own), np.int64) if own.time_us is None else own.time_us
    return own.book.tolist(), own.stars.tolist(), times.tolist()
