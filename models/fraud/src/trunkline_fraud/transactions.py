"""Card transactions as columns."""

from dataclasses import dataclass, fields
from typing import Self

import numpy as np
import numpy.typing as npt

HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US

SCENARIOS = {1: "large amount", 2: "compromised terminal", 3: "compromised card"}
"""What `Transactions.scenario` says of a fraudulent transaction; 0 is a genuine one."""


@dataclass(frozen=True, slots=True)
class Transactions:
    """A history in the order in which it happened: N transactions, one array of [N] a column.

    Raises:
        ValueError: when the columns differ in length, or time runs backwards.
    """

    time_us: npt.NDArray[np.int64]
    """Microseconds since the Unix epoch, never decreasing."""
    customer: npt.NDArray[np.int64]
    """Who paid."""
    terminal: npt.NDArray[np.int64]
    """Where."""
    cents: npt.NDArray[np.int64]
    """How much, in hundredths: sums of integers are exact in any order of adding."""
    fraud: npt.NDArray[np.bool_]
    """The label, as it is known once the label delay has passed."""
    scenario: npt.NDArray[np.int8]
    """Which scenario made it fraudulent: a key of SCENARIOS, or 0."""

    def __post_init__(self) -> None:
        lengths = {column.name: len(getattr(self, column.name)) for column in fields(self)}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"columns of different lengths: {lengths}")
        if np.any(np.diff(self.time_us) < 0):
            raise ValueError("transactions must be in order of time")

    def __len__(self) -> int:
        return len(self.time_us)

    @property
    def amount(self) -> npt.NDArray[np.float64]:
        """How much, in units of the currency."""
        return self.cents / 100.0

    def where(self, rows: npt.NDArray[np.bool_] | slice) -> Self:
        """The transactions that a mask or a slice picks."""
        return type(self)(*(getattr(self, column.name)[rows] for column in fields(self)))
