"""What a user read, as the user tower takes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

PADDING = 0
"""Stands where no item is, or one that the artefact does not know."""


@dataclass(frozen=True, slots=True)
class History:
    """The newest items of one user, newest first, padded at the end."""

    rows: NDArray[np.int64]
    """[1, length] row of the item in the artefact + 1, or PADDING."""
    ratings: NDArray[np.float32]
    """[1, length] 1 to 5; 0 where there is no item."""


def encode(
    ids: Sequence[str], ratings: NDArray[np.float32] | None, rows: Mapping[str, int], length: int
) -> History | None:
    """The history of these items; None when the artefact knows none of them.

    Args:
        ids: newest first.
        ratings: one an id, then anything; None when they are not known, which counts as 0.
        rows: row of each item that the artefact knows.
        length: how many are taken.
    """
    newest = ids[:length]
    encoded = np.zeros((1, length), np.int64)
    encoded[0, : len(newest)] = [rows.get(each, PADDING - 1) + 1 for each in newest]
    known = encoded != PADDING
    if not known.any():
        return None
    given = np.zeros((1, length), np.float32)
    if ratings is not None:
        rated = ratings[: len(newest)]
        given[0, : len(rated)] = rated
    return History(encoded, np.where(known, given, np.float32(0)))
