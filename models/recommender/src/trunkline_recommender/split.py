"""Leave-k-out: the last books that a reader liked are held out, with all that the reader did after.

Time is each reader's own. A history is what came before the first held-out book; ratings after it that are
not held out are set aside, neither learned from nor shown.

    | training ... | 10 liked and what lies between | 10 liked and what lies between |
                     validation                       test
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trunkline_recommender.ratings import Ratings

HELD_OUT = 10
"""k, the liked books that validation and test hold out of an eligible reader each."""
ELIGIBLE_LIKED = 3 * HELD_OUT
"""Readers with fewer liked books are only trained on."""


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Masks [R] over the ratings."""

    training: npt.NDArray[np.bool_]
    """What the validation models learn from, and the histories that they see."""
    known: npt.NDArray[np.bool_]
    """What the final model learns from, and the histories that it sees: training, validation, and what was
    set aside between the two."""
    validation: npt.NDArray[np.bool_]
    """Liked books to find, HELD_OUT a reader."""
    test: npt.NDArray[np.bool_]
    """Liked books to find, HELD_OUT a reader."""
    eligible: npt.NDArray[np.int64]
    """The readers who have books held out."""


def split(ratings: Ratings) -> Split:
    """Holds out the last liked books of every eligible reader.

    Raises:
        ValueError: when no reader liked ELIGIBLE_LIKED books.
    """
    liked = np.bincount(ratings.reader, ratings.liked, ratings.readers).astype(np.int64)
    eligible = np.flatnonzero(liked >= ELIGIBLE_LIKED)
    if not len(eligible):
        raise ValueError(f"no reader liked {ELIGIBLE_LIKED} books or more")
    starts = np.searchsorted(ratings.reader, np.arange(ratings.readers))
    running: npt.NDArray[np.int64] = np.cumsum(ratings.liked)
    before: npt.NDArray[np.int64] = (running - ratings.liked)[starts]
    # How many liked books of the reader are left, from this rating on, itself included.
    left = (liked + before)[ratings.reader] - running + ratings.liked
    chosen = np.isin(ratings.reader, eligible)
    # One that was not liked comes before the first held-out book when all held-out ones are left.
    ahead = left + ~ratings.liked
    known = ~chosen | (ahead > HELD_OUT)
    training = ~chosen | (ahead > 2 * HELD_OUT)
    return Split(
        training=training,
        known=known,
        validation=chosen & ratings.liked & (left > HELD_OUT) & (left <= 2 * HELD_OUT),
        test=chosen & ratings.liked & (left <= HELD_OUT),
        eligible=eligible,
    )
