"""From a reader's log to the rows of the feature store: one way, for training and for serving.

shelf = Shelf.of(items)                               # of items.json
for row in rows("r00017", log, shelf, length):        # length: history.length of signature.json
    write(row.view, row.entity_id, row.event_time_us, row.fields, row.values)
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from trunkline_recommender.books import Book
from trunkline_recommender.ratings import LIKED

ENTITY_TYPE = "reader"
HISTORY_VIEW = "reader_history"
ACTIVITY_VIEW = "reader_activity"
HISTORY_FIELDS = ("books", "ratings")
BASE_FIELDS = ("ratings_count", "mean_rating", "liked_share", "mean_year", "mean_popularity")


@dataclass(frozen=True, slots=True)
class Rated:
    """A reader rated a book."""

    book_id: str
    stars: int
    """1 to 5."""
    time_us: int
    """Microseconds since the Unix epoch."""


@dataclass(frozen=True, slots=True)
class Row:
    """A reader's row of one view."""

    view: str
    entity_id: str
    event_time_us: int
    fields: tuple[str, ...]
    values: tuple[str | float | list[float], ...]
    """One a field; a vector is a list."""


@dataclass(frozen=True, slots=True, eq=False)
class Shelf:
    """What the readers' features need to know of I books."""

    place: Mapping[str, int]
    """Row of the book by id."""
    year: npt.NDArray[np.float64]
    """[I] of publication, NaN when not known."""
    popularity: npt.NDArray[np.float64]
    """[I] log10(1 + readers)."""
    genre: npt.NDArray[np.int64]
    """[I] place in `genres`, -1 when not known."""
    genres: tuple[str, ...]

    @classmethod
    def of(cls, items: Iterable[Mapping[str, Any]]) -> Self:
        """The shelf of the `items` of items.json."""
        listed = list(items)
        counts = [int(item["attributes"].get("readers", 0)) for item in listed]
        return cls.build([Book.of(item) for item in listed], np.array(counts, np.int64))

    @classmethod
    def build(cls, books: Sequence[Book], readers: npt.NDArray[np.int64]) -> Self:
        """The shelf of I books that [I] readers rated."""
        genres = tuple(sorted({book.genre for book in books if book.genre}))
        number = {genre: place for place, genre in enumerate(genres)}
        return cls(
            place={book.id: place for place, book in enumerate(books)},
            year=np.array([float(book.year) if book.year else np.nan for book in books]),
            popularity=np.log10(1.0 + readers),
            genre=np.array([number.get(book.genre, -1) for book in books], np.int64),
            genres=genres,
        )

    @property
    def activity_fields(self) -> tuple[str, ...]:
        """The fields of reader_activity, in order."""
        return (*BASE_FIELDS, *(f"likes_{genre.replace(' ', '_')}" for genre in self.genres))

    def activity(
        self,
        reader: npt.NDArray[np.int64],
        book: npt.NDArray[np.int64],
        stars: npt.NDArray[np.int64],
        readers: int,
    ) -> npt.NDArray[np.float64]:
        """[readers, activity_fields] of R ratings; `book` is -1 where the shelf does not have it.

        NaN where there is nothing to take the mean of. The order of a reader's ratings decides the last
        bits: it is that in which they were given.
        """

        def mean(values: npt.NDArray[Any], of: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
            total = np.bincount(reader[of], values[of], readers)
            count = np.bincount(reader[of], minlength=readers)
            quotient: npt.NDArray[np.float64] = np.divide(
                total, count, out=np.full(readers, np.nan), where=count > 0
            )
            return quotient

        every = np.ones(len(reader), np.bool_)
        known = book >= 0
        liked = stars >= LIKED
        year, genre = self.year[book], self.genre[book]
        columns = [
            np.bincount(reader, minlength=readers).astype(np.float64),
            mean(stars, every),
            mean(liked, every),
            mean(year, known & np.isfinite(year)),
            mean(self.popularity[book], known),
            *(mean(genre == place, known & liked & (genre >= 0)) for place in range(len(self.genres))),
        ]
        return np.stack(columns, axis=1)


def rows(reader_id: str, log: Iterable[Rated], shelf: Shelf, length: int) -> tuple[Row, ...]:
    """The reader's rows of both views, as of the newest event; none for an empty log.

    Of a book that was rated twice the later stars count, at the later time. Values that are not known, such
    as the mean year of books without one, are NaN: write null, and readers of the store see the default.
    """
    latest: dict[str, Rated] = {}
    for event in sorted(log, key=lambda event: event.time_us):
        latest.pop(event.book_id, None)
        latest[event.book_id] = event
    events = list(latest.values())
    if not events:
        return ()
    newest = events[: -length - 1 : -1]
    stars = [float(event.stars) for event in newest]
    values = shelf.activity(
        np.zeros(len(events), np.int64),
        np.array([shelf.place.get(event.book_id, -1) for event in events], np.int64),
        np.array([event.stars for event in events], np.int64),
        1,
    )[0]
    time_us = events[-1].time_us
    return (
        Row(
            HISTORY_VIEW,
            reader_id,
            time_us,
            HISTORY_FIELDS,
            (" ".join(event.book_id for event in newest), stars + [0.0] * (length - len(stars))),
        ),
        Row(ACTIVITY_VIEW, reader_id, time_us, shelf.activity_fields, tuple(values.tolist())),
    )
