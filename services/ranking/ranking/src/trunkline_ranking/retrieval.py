"""What recommending asks of a vector index."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Found:
    """The nearest items of a vector, and what was searched."""

    ids: Sequence[str]
    """The nearest first."""
    scores: NDArray[np.float32]
    """One an id."""
    snapshot: str = ""
    """Of the index; empty when it has none yet."""
    sequence: int = 0
    """The index's changes up to this one were searched."""


@dataclass(frozen=True, slots=True)
class Search:
    """What to find."""

    index: str
    """`indexes/{index}`."""
    vector: NDArray[np.float32]
    """[dimension of the index]."""
    top_k: int
    """How many at most, 1 to 1000."""
    filter: str
    """AIP-160; empty: all items."""


class Retrieval(Protocol):
    """The vector index."""

    async def search(self, search: Search, timeout_s: float) -> Found:
        """The items nearest to a vector.

        Args:
            search: what to find.
            timeout_s: how long the answer is worth waiting for.

        Raises:
            BadRequest: `filter` is malformed.
            Fault: it cannot be searched.
        """
        ...
