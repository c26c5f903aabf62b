"""Spans in SQLite, the newest so many of them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass, fields
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Self

MAXIMUM_SPANS = 200_000


class Kind(StrEnum):
    """Which side of an interaction a span is, as OpenTelemetry says it."""

    INTERNAL = "internal"
    SERVER = "server"
    CLIENT = "client"


@dataclass(frozen=True, slots=True)
class Span:
    """One operation of one service."""

    trace_id: str
    """32 hexadecimal digits."""
    span_id: str
    """16 hexadecimal digits."""
    parent_id: str
    """Empty for a span without a parent."""
    service: str
    name: str
    kind: str
    """A `Kind`."""
    start_ns: int
    """Since the Unix epoch."""
    end_ns: int
    error: str
    """What failed, empty when nothing did."""


@dataclass(frozen=True, slots=True)
class Trace:
    """One line of a list of traces."""

    trace_id: str
    name: str
    """Of its first span."""
    service: str
    """Of its first span."""
    start_ns: int
    duration_ns: int
    spans: int
    errors: int


class UnknownTrace(LookupError):
    """No trace, or more than one, begins like that."""


_COLUMNS = ", ".join(column.name for column in fields(Span))


class SpanStore:
    """The spans of a suite. One writer, any number of readers in other processes (WAL).

    Args:
        path: of the database, made when it is not there.
        maximum: most spans kept; the oldest to arrive go first.
    """

    def __init__(self, path: Path, maximum: int = MAXIMUM_SPANS) -> None:
        self._maximum = maximum
        self._database = sqlite3.connect(path, timeout=5)
        self._database.execute("PRAGMA journal_mode = WAL")
        # A crash of the machine may lose the last spans; the file stays whole.
        self._database.execute("PRAGMA synchronous = NORMAL")
        with self._database:
            self._database.execute(
                "CREATE TABLE IF NOT EXISTS span (number INTEGER PRIMARY KEY, trace_id TEXT NOT NULL, "
                "span_id TEXT NOT NULL, parent_id TEXT NOT NULL, service TEXT NOT NULL, name TEXT NOT NULL, "
                "kind TEXT NOT NULL, start_ns INTEGER NOT NULL, end_ns INTEGER NOT NULL, error TEXT NOT NULL, "
                "UNIQUE (trace_id, span_id))"
            )

    def add(self, spans: Iterable[Span]) -> None:
        """Stores spans. One that is stored already, because an export was repeated, changes nothing."""
        places = ", ".join("?" * len(fields(Span)))
        with self._database:
            self._database.executemany(
                f"INSERT OR IGNORE INTO span ({_COLUMNS}) VALUES ({places})",  # noqa: S608 - our own names
                [astuple(span) for span in spans],
            )
            self._database.execute(
                "DELETE FROM span WHERE number <= (SELECT max(number) FROM span) - ?", (self._maximum,)
            )

    def trace(self, prefix: str) -> Sequence[Span]:
        """The spans of the one trace whose id begins with the prefix, by start.

        Raises:
            UnknownTrace: there is none, or more than one.
        """
        low = prefix.lower()
        found = self._database.execute(
            "SELECT DISTINCT trace_id FROM span WHERE trace_id >= ? AND trace_id < ? LIMIT 2",
            (low, low + "g"),
        ).fetchall()
        if len(found) != 1:
            how = "more than one trace begins" if found else "no trace begins"
            raise UnknownTrace(f"{how} with {prefix!r}; `trunkline trace` lists the latest")
        rows = self._database.execute(
            f"SELECT {_COLUMNS} FROM span WHERE trace_id = ? ORDER BY start_ns, number",  # noqa: S608
            found[0],
        )
        return [Span(*row) for row in rows]

    def latest(self, count: int) -> Sequence[Trace]:
        """The traces that changed last, the newest first."""
        rows = self._database.execute(
            "SELECT trace_id, name, service, min(start_ns), max(end_ns) - min(start_ns), count(*), "
            "sum(error <> '') FROM span GROUP BY trace_id ORDER BY max(number) DESC LIMIT ?",
            (count,),
        )
        return [Trace(*row) for row in rows]

    def close(self) -> None:
        """Closes the database."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
