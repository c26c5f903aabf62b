"""Who gave which book how many stars, as columns."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trunkline_recommender.books import Book

DAY_US = 86_400_000_000
LIKED = 4
"""Stars from which on a reader liked a book."""


@dataclass(frozen=True, slots=True, eq=False)
class Ratings:
    """R ratings, each reader's in the order in which they were given.

    Raises:
        ValueError: when columns do not fit together, stars are not 1 to 5, or a reader rated a book twice.
    """

    books: Sequence[Book]
    """The I books that `book` counts."""
    reader: npt.NDArray[np.int64]
    """[R] 0 to readers - 1, ascending."""
    book: npt.NDArray[np.int64]
    """[R] places in `books`."""
    stars: npt.NDArray[np.int64]
    """[R] 1 to 5."""
    time_us: npt.NDArray[np.int64] | None
    """[R] microseconds since the Unix epoch, ascending for each reader. None: only the order is known."""

    def __post_init__(self) -> None:
        if not len(self.reader) == len(self.book) == len(self.stars):
            raise ValueError("columns of different lengths")
        if self.time_us is not None and len(self.time_us) != len(self.reader):
            raise ValueError("columns of different lengths")
        if np.any(np.diff(self.reader) < 0):
            raise ValueError("ratings are not in the order of their readers")
        if len(self.stars) and not (self.stars.min() >= 1 and self.stars.max() <= 5):
            raise ValueError("stars are 1 to 5")
        if len(np.unique(self.reader * len(self.books) + self.book)) != len(self.reader):
            raise ValueError("a reader rated a book twice")

    def __len__(self) -> int:
        return len(self.reader)

    @property
    def readers(self) -> int:
        """How many readers there are, counting from 0 to the last one with a rating."""
        return int(self.reader[-1]) + 1 if len(self) else 0

    @property
    def liked(self) -> npt.NDArray[np.bool_]:
        """[R] whether the stars are LIKED or more."""
        return self.stars >= LIKED

    def where(self, chosen: npt.NDArray[np.bool_]) -> "Ratings":
        """The ratings that a mask [R] chooses; readers and books keep their numbers."""
        return Ratings(
            self.books,
            self.reader[chosen],
            self.book[chosen],
            self.stars[chosen],
            None if self.time_us is None else self.time_us[chosen],
        )
