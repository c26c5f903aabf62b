"""Which days of a history are for what."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trunkline_fraud.transactions import DAY_US, Transactions
from trunkline_fraud.windows import LABEL_DELAY_DAYS, WINDOW_DAYS


@dataclass(frozen=True, slots=True)
class Split:
    """Lengths in days, one after the other in time.

    The gap is the label delay: on the first day of validation no label of a later training day would
    have been known, so none is trained on.
    """

    warm_up: int
    """Fills the windows; no row of it is used."""
    train: int
    gap: int
    validation: int
    """Chooses the thresholds."""
    test: int
    """Is measured once."""

    @classmethod
    def of(cls, days: int) -> "Split":
        """A quarter of warm-up at most, 11 % validation, 22 % test, the rest to train on.

        Raises:
            ValueError: for fewer than 28 days, which leave too little to train on.
        """
        if days < 28:
            raise ValueError(f"{days} days are too few for a time split: 28 or more are needed")
        warm_up = min(max(WINDOW_DAYS) + LABEL_DELAY_DAYS, days // 4)
        validation, test = round(days * 0.11), round(days * 0.22)
        return cls(
            warm_up, days - warm_up - LABEL_DELAY_DAYS - validation - test, LABEL_DELAY_DAYS, validation, test
        )

    def masks(self, transactions: Transactions) -> tuple[npt.NDArray[np.bool_], ...]:
        """[N] masks of training, validation and test rows. Days begin at midnight UTC."""
        day = transactions.time_us // DAY_US
        day = day - day[0]
        first = np.cumsum([self.warm_up, self.train, self.gap, self.validation, self.test])
        return (
            (day >= first[0]) & (day < first[1]),
            (day >= first[2]) & (day < first[3]),
            (day >= first[3]) & (day < first[4]),
        )
