"""What a voice sounds like, as a vector."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from trunkline_speech.recogniser import Samples

Vectors = NDArray[np.float32]
"""[pieces, dimension]. A vector also knows how much speech it stands for."""
Distances = NDArray[np.float64]
"""[left, right], from 0."""


class Embedding(Protocol):
    """Turns pieces of speech into vectors, and knows how far apart two of them are.

    It keeps nothing of what it hears, and is called from several threads at once.
    """

    @property
    def name(self) -> str:
        """What made a vector: those of different names cannot be compared."""
        ...

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        ...

    @property
    def threshold(self) -> float:
        """Vectors further apart are of two people."""
        ...

    def embed(self, pieces: Sequence[Samples]) -> Vectors:
        """A vector for each piece of speech, whatever its length. Blocks: call it in a thread."""
        ...

    def pool(self, vectors: Vectors) -> Vectors:
        """[dimension]: the one vector of several pieces by one person."""
        ...

    def distances(self, left: Vectors, right: Vectors) -> Distances:
        """How far each on the left is from each on the right."""
        ...
