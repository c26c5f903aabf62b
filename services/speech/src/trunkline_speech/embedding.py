"""What a voice sounds like, as a vector."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from trunkline_speech.recogniser import Samples

Vectors = NDArray[np.float32]
"""[pieces, dimension], each of length 1: the cosine of two says how alike their voices are."""


class Embedding(Protocol):
    """Turns speech into vectors that lie close together where one person speaks. Safe to call from several threads."""

    @property
    def name(self) -> str:
        """What made a vector: vectors of different names are never compared."""
        ...

    @property
    def threshold(self) -> float:
        """Two voices whose cosine is below are two people."""
        ...

    def embed(self, pieces: Sequence[Samples]) -> Vectors:
        """A vector for each piece of speech. Blocks: it is called in a thread."""
        ...
