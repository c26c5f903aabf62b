"""Changes of an index: what the log holds and what replicas apply, in order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Attribute: TypeAlias = str | float | bool | tuple[str, ...]
"""A text, a number, a boolean or a list of texts."""
Attributes: TypeAlias = Mapping[str, Attribute]
"""By name, each `[a-z][a-z0-9_]*`."""


@dataclass(frozen=True, slots=True)
class Upsert:
    """Vectors added, or put in place of those with the same id."""

    ids: Sequence[str]
    """Each once."""
    vectors: NDArray[np.float32]
    """`[ids, dimension]`, finite; of length 1 where the metric is COSINE."""
    attributes: Sequence[Attributes]
    """One an id."""


@dataclass(frozen=True, slots=True)
class Delete:
    """Vectors removed. An id that is not there is no error."""

    ids: Sequence[str]


Change: TypeAlias = Upsert | Delete


@dataclass(frozen=True, slots=True)
class Entry:
    """A change at its place in the history of an index."""

    sequence: int
    """1 for the first change, then one more each."""
    change: Change
