"""A card transaction, and what a model may know of it without any store."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

NIGHT_ENDS_HOUR = 6
SATURDAY = 5


@dataclass(frozen=True, slots=True)
class Transaction:
    """A card transaction at the moment of its authorisation."""

    customer_id: str
    terminal_id: str
    amount: float
    time: datetime
    """In UTC."""

    def entity(self, kind: str) -> str:
        """Its id of an entity type in `ENTITY_TYPES`."""
        return self.customer_id if kind == "customer" else self.terminal_id


ENTITY_TYPES = ("customer", "terminal")
"""What a transaction has ids of."""


REQUEST_FEATURES: Mapping[str, Callable[[Transaction], float]] = {
    "request:amount": lambda transaction: transaction.amount,
    "request:hour": lambda transaction: transaction.time.hour,
    "request:weekday": lambda transaction: transaction.time.weekday(),
    "request:night": lambda transaction: transaction.time.hour <= NIGHT_ENDS_HOUR,
    "request:weekend": lambda transaction: transaction.time.weekday() >= SATURDAY,
}
"""Features computed from the request. Hour 0 to 23 in UTC, weekday 0 for Monday; night is up to and with the
hour 6; night and weekend are 0 or 1."""
