"""The store, as the domain sees it: transactions that happen whole or not at all."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Protocol, TypeVar

RowsT_co = TypeVar("RowsT_co", covariant=True)


class Store(Protocol[RowsT_co]):
    """Where rows live."""

    def transaction(self, what: str) -> AbstractAsyncContextManager[RowsT_co]:
        """Rows to read and change: kept when the block ends, forgotten when it raises or is cancelled.

        Args:
            what: name of its span.

        Raises:
            Unavailable: STORE_UNREACHABLE. Whether the transaction happened is then unknown.
        """
        ...
