"""A stream of transactions to score, with the rows the feature store needs around each.

    replay = Replay.simulate(now)
    for table in replay.tables():           # once: the rows of every entity as the stream begins
        ...write table
    for step in replay.steps():             # in order of time
        for row in step.before: ...         # write: terminals whose labels arrived meanwhile
        ...score step, compare with step.fraud
        for row in step.after: ...          # write: its customer and its terminal, now a purchase on

Fraud is denser here than in the data the model was trained on, so that a short stream shows some.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from trunkline_fraud.simulator import FraudRates, Population, simulate
from trunkline_fraud.transactions import Transactions
from trunkline_fraud.views import CUSTOMER_VIEW, TERMINAL_VIEW
from trunkline_fraud.windows import CUSTOMER_FIELDS, TERMINAL_FIELDS, Activity

HISTORY_WEEKS = 8
DENSITY = 4.0
"""How many times as often fraud strikes as in training."""


@dataclass(frozen=True, slots=True)
class Row:
    """One entity's row of one view."""

    view: str
    entity_id: str
    event_time_us: int
    values: tuple[float, ...]
    """In the order of the view's fields."""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of one view, columnar: E entities."""

    view: str
    fields: tuple[str, ...]
    entity_ids: list[str]
    event_times_us: list[int]
    columns: list[list[float]]
    """One list of [E] a field."""


@dataclass(frozen=True, slots=True)
class Step:
    """A transaction, its truth, and the rows to write before and after it is scored."""

    customer_id: str
    terminal_id: str
    amount: float
    time_us: int
    fraud: bool
    scenario: int
    """A key of transactions.SCENARIOS, 0 for a genuine one."""
    before: tuple[Row, ...]
    after: tuple[Row, ...]


class Replay:
    """A history that has happened, and the transactions that follow it.

    `steps` moves the windows on, so a replay is read once, and `tables` before it.
    """

    def __init__(self, transactions: Transactions, count: int) -> None:
        """Streams the last `count` transactions after all others as history.

        Raises:
            ValueError: when there are fewer transactions than that, or none are asked for.
        """
        if not 0 < count <= len(transactions):
            raise ValueError(f"cannot stream {count} of {len(transactions)} transactions")
        self._stream = transactions.where(slice(len(transactions) - count, None))
        self._activity = Activity()
        for event in _events(transactions.where(slice(0, len(transactions) - count))):
            self._activity.observe(*event)

    @classmethod
    def simulate(cls, now: datetime, count: int = 1500, seed: int = 11) -> "Replay":
        """A simulated stream that ends at the last midnight (UTC) from a Sunday to a Monday before `now`.

        Whole weeks are moved, so that the transactions, and with them every figure, are the same
        whenever it runs, and rows are still fresh.
        """
        monday = now.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=now.weekday())
        population = Population(
            customers=1000,
            terminals=1000,
            days=7 * HISTORY_WEEKS,
            start=monday - timedelta(weeks=HISTORY_WEEKS),
            fraud=FraudRates().times(DENSITY),
        )
        return cls(simulate(population, seed), count)

    def __len__(self) -> int:
        return len(self._stream)

    def tables(self) -> tuple[Table, Table]:
        """The current rows of every customer and every terminal that has one."""
        return (
            _table(
                CUSTOMER_VIEW,
                CUSTOMER_FIELDS,
                [self._customer(key) for key in sorted(self._activity.customers)],
            ),
            _table(
                TERMINAL_VIEW,
                TERMINAL_FIELDS,
                [self._terminal(key) for key in sorted(self._activity.terminals)],
            ),
        )

    def steps(self) -> Iterator[Step]:
        """The transactions to score, in order of time."""
        amount = self._stream.amount
        for place, event in enumerate(_events(self._stream)):
            time_us, customer, terminal, _, fraud = event
            before = tuple(self._terminal(key) for key in self._activity.settle(time_us))
            self._activity.observe(*event)
            yield Step(
                customer_id=customer_id(customer),
                terminal_id=terminal_id(terminal),
                amount=float(amount[place]),
                time_us=time_us,
                fraud=fraud,
                scenario=int(self._stream.scenario[place]),
                before=before,
                after=(self._customer(customer), self._terminal(terminal)),
            )

    def _customer(self, key: int) -> Row:
        window = self._activity.customers[key]
        return Row(CUSTOMER_VIEW, customer_id(key), window.as_of_us, window.row())

    def _terminal(self, key: int) -> Row:
        window = self._activity.terminals[key]
        return Row(TERMINAL_VIEW, terminal_id(key), window.as_of_us, window.row())


def customer_id(key: int) -> str:
    """The customer's key in the store."""
    return f"c{key:05d}"


def terminal_id(key: int) -> str:
    """The terminal's key in the store."""
    return f"t{key:05d}"


def _events(transactions: Transactions) -> Iterator[tuple[int, int, int, int, bool]]:
    """Plain numbers: the windows' arithmetic is Python's."""
    return zip(
        transactions.time_us.tolist(),
        transactions.customer.tolist(),
        transactions.terminal.tolist(),
        transactions.cents.tolist(),
        transactions.fraud.tolist(),
        strict=True,
    )


def _table(view: str, names: tuple[str, ...], rows: list[Row]) -> Table:
    values = np.array([row.values for row in rows]).reshape(len(rows), len(names))
    return Table(
        view=view,
        fields=names,
        entity_ids=[row.entity_id for row in rows],
        event_times_us=[row.event_time_us for row in rows],
        columns=values.T.tolist(),
    )
