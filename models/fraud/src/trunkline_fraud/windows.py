"""Windowed features of customers and terminals, the same offline and online.

**What a row is.** The store holds one row an entity and view, written when something happened to the
entity, and a reader gets that row as it was written. Windows are therefore counted back from the
entity's last event and not from the moment of reading: nothing decays in between, and no feature
depends on how long ago the event was. Training uses exactly these rows. A transaction is scored on the
rows that the events before it left; it becomes an event itself only afterwards.

**Events.** A customer's event is its own transaction. A terminal's events are a transaction there, and
a label that becomes known: `LABEL_DELAY_DAYS` after its transaction the truth about it arrives, and
not earlier. Labels due by an instant are applied before the transactions of that instant.

**Windows** of w days that end at the event's time t hold the transactions in (t - w, t]. Risk is the
share of fraud among the transactions in (t - delay - w, t - delay], 0 where there are none.

Amounts are integers (cents), so sums are exact and the two computations agree to the last bit.
"""

from collections import deque
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from trunkline_fraud.transactions import DAY_US, Transactions

WINDOW_DAYS = (1, 7, 30)
LABEL_DELAY_DAYS = 7

CUSTOMER_FIELDS = (
    "count_1d",
    "mean_amount_1d",
    "count_7d",
    "mean_amount_7d",
    "count_30d",
    "mean_amount_30d",
    "std_amount_30d",
)
TERMINAL_FIELDS = ("count_1d", "risk_1d", "count_7d", "risk_7d", "count_30d", "risk_30d")

_DELAY_US = LABEL_DELAY_DAYS * DAY_US
_LONGEST_US = max(WINDOW_DAYS) * DAY_US


@dataclass(slots=True)
class CustomerWindow:
    """What a customer did in the longest window up to its last transaction."""

    _recent: deque[tuple[int, int]] = field(default_factory=deque)
    as_of_us: int = 0
    """Time of the last event: the event time of `row`."""

    def add(self, time_us: int, cents: int) -> None:
        """Its next transaction."""
        self.as_of_us = time_us
        self._recent.append((time_us, cents))
        while self._recent[0][0] <= time_us - _LONGEST_US:
            self._recent.popleft()

    def row(self) -> tuple[float, ...]:
        """Values of CUSTOMER_FIELDS. There has been at least one transaction."""
        values: list[float] = []
        count = total = squares = 0
        for days in WINDOW_DAYS:
            inside = [cents for time_us, cents in self._recent if time_us > self.as_of_us - days * DAY_US]
            count, total = len(inside), sum(inside)
            squares = sum(cents * cents for cents in inside)
            values += [float(count), total / count / 100.0]
        mean = float(total) / count
        variance = float(squares) / count - mean * mean
        return (*values, float(np.sqrt(max(variance, 0.0))) / 100.0)


@dataclass(slots=True)
class TerminalWindow:
    """What happened at a terminal in the longest window, and which of it is known to be fraud."""

    _recent: deque[int] = field(default_factory=deque)
    _labelled: deque[tuple[int, bool]] = field(default_factory=deque)
    as_of_us: int = 0
    """Time of the last event: the event time of `row`."""

    def add(self, time_us: int) -> None:
        """The next transaction there."""
        self.as_of_us = time_us
        self._recent.append(time_us)
        self._forget()

    def label(self, time_us: int, fraud: bool) -> None:
        """The truth about the transaction of `time_us` arrives, a label delay later."""
        self.as_of_us = time_us + _DELAY_US
        self._labelled.append((time_us, fraud))
        self._forget()

    def row(self) -> tuple[float, ...]:
        """Values of TERMINAL_FIELDS."""
        values: list[float] = []
        for days in WINDOW_DAYS:
            since_us = self.as_of_us - days * DAY_US
            known = [fraud for time_us, fraud in self._labelled if time_us > since_us - _DELAY_US]
            values += [
                float(sum(time_us > since_us for time_us in self._recent)),
                sum(known) / max(len(known), 1),
            ]
        return tuple(values)

    def _forget(self) -> None:
        while self._recent and self._recent[0] <= self.as_of_us - _LONGEST_US:
            self._recent.popleft()
        while self._labelled and self._labelled[0][0] <= self.as_of_us - _DELAY_US - _LONGEST_US:
            self._labelled.popleft()


@dataclass(slots=True)
class Activity:
    """The windows of every entity, moved on transaction by transaction."""

    customers: dict[int, CustomerWindow] = field(default_factory=dict)
    terminals: dict[int, TerminalWindow] = field(default_factory=dict)
    _unlabelled: deque[tuple[int, int, bool]] = field(default_factory=deque)

    def settle(self, now_us: int) -> list[int]:
        """Applies the labels that are due by now; the terminals whose rows that changed."""
        changed: dict[int, None] = {}
        while self._unlabelled and self._unlabelled[0][0] + _DELAY_US <= now_us:
            time_us, terminal, fraud = self._unlabelled.popleft()
            self.terminals[terminal].label(time_us, fraud)
            changed[terminal] = None
        return list(changed)

    def observe(self, time_us: int, customer: int, terminal: int, cents: int, fraud: bool) -> None:
        """A transaction, after it was scored. Its label stays unseen until it is due."""
        self.settle(time_us)
        self.customers.setdefault(customer, CustomerWindow()).add(time_us, cents)
        self.terminals.setdefault(terminal, TerminalWindow()).add(time_us)
        self._unlabelled.append((time_us, terminal, fraud))


def customer_rows(transactions: Transactions) -> npt.NDArray[np.float64]:
    """[N, CUSTOMER_FIELDS]: the customer's row before each transaction; NaN where there was none."""
    groups = _Groups.of(transactions.customer, transactions.time_us)
    cents = transactions.cents[groups.order]
    total = _running(cents)
    squares = _running(cents * cents)
    position = groups.later
    as_of = groups.key[position - 1]
    columns: list[npt.NDArray[np.float64]] = []
    count = mean = np.empty(0)
    low = position
    for days in WINDOW_DAYS:
        low = np.searchsorted(groups.key, as_of - days * DAY_US, side="right")
        count = (position - low).astype(np.float64)
        mean = (total[position] - total[low]) / count
        columns += [count, mean / 100.0]
    variance = (squares[position] - squares[low]) / count - mean * mean
    columns.append(np.sqrt(np.maximum(variance, 0.0)) / 100.0)
    return groups.scatter(columns)


def terminal_rows(transactions: Transactions) -> npt.NDArray[np.float64]:
    """[N, TERMINAL_FIELDS]: the terminal's row before each transaction; NaN where there was none."""
    groups = _Groups.of(transactions.terminal, transactions.time_us)
    frauds = _running(transactions.fraud[groups.order].astype(np.int64))
    position = groups.later
    # The last event is the transaction before, or the latest label that is due since.
    labelled = np.searchsorted(groups.key, groups.key[position] - _DELAY_US, side="right")
    same = (labelled > 0) & (groups.entity[np.maximum(labelled - 1, 0)] == groups.entity[position])
    label_time = np.where(same, groups.key[np.maximum(labelled - 1, 0)] + _DELAY_US, np.iinfo(np.int64).min)
    as_of = np.maximum(groups.key[position - 1], label_time)
    columns: list[npt.NDArray[np.float64]] = []
    known = np.searchsorted(groups.key, as_of - _DELAY_US, side="right")
    for days in WINDOW_DAYS:
        low = np.searchsorted(groups.key, as_of - days * DAY_US, side="right")
        known_low = np.searchsorted(groups.key, as_of - _DELAY_US - days * DAY_US, side="right")
        columns += [
            (position - low).astype(np.float64),
            (frauds[known] - frauds[known_low]) / np.maximum(known - known_low, 1),
        ]
    return groups.scatter(columns)


@dataclass(frozen=True, slots=True)
class _Groups:
    """Transactions sorted by entity, then time."""

    order: npt.NDArray[np.int64]
    """[N] places in the history."""
    entity: npt.NDArray[np.int64]
    """[N] 0, 1, ... in sorted order."""
    key: npt.NDArray[np.int64]
    """[N] times moved so far apart between entities that one search serves all of them."""
    later: npt.NDArray[np.int64]
    """Sorted places of the transactions that are not their entity's first."""

    @classmethod
    def of(cls, entity: npt.NDArray[np.int64], time_us: npt.NDArray[np.int64]) -> "_Groups":
        order = np.argsort(entity, kind="stable").astype(np.int64)
        _, rank = np.unique(entity[order], return_inverse=True)
        rank = rank.astype(np.int64)
        span = int(np.ptp(time_us)) + 2 * (_DELAY_US + _LONGEST_US) if len(time_us) else 1
        if len(rank) and int(rank[-1] + 2) * span > np.iinfo(np.int64).max:
            raise ValueError("too many entities over too long a time for 64-bit keys")
        start = time_us.min() if len(time_us) else 0
        key = (time_us[order] - start) + rank * span
        later = np.flatnonzero(rank[1:] == rank[:-1]) + 1
        return cls(order, rank, key, later)

    def scatter(self, columns: list[npt.NDArray[np.float64]]) -> npt.NDArray[np.float64]:
        """Columns over `later` as a matrix in the order of the history, NaN elsewhere."""
        rows = np.full((len(self.order), len(columns)), np.nan)
        rows[self.order[self.later]] = np.stack(columns, axis=1)
        return rows


def _running(values: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """[N + 1] sums of the values before each place."""
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(values)])
