"""The table of faults: read from `table.toml`, expanded to one row for every method, dependency and fault.

python tests/faults/fault_table.py       writes docs/faults.md anew
"""

from __future__ import annotations

import tomllib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).with_name("table.toml")
DOCUMENT = Path(__file__).parents[2] / "docs" / "faults.md"

Place = tuple[str, str, str, str]
"""Deployable, dependency, method, fault."""


class WrongTable(ValueError):
    """The table contradicts itself. The message says where."""


@dataclass(frozen=True, slots=True)
class Row:
    """What a caller sees of one method of one deployable while one of its dependencies has a fault."""

    at: str
    """The deployable that is called."""
    dependency: str
    method: str
    """`Service/Method`, or `Service/Method (moment)` where a call has more than one in which to fail."""
    fault: str
    code: str
    """Name of the status code."""
    within_s: float
    """The caller's deadline: what comes later is DEADLINE_EXCEEDED."""
    reason: str = ""
    """Of the ErrorInfo; empty with OK."""
    degraded: str = ""
    """`x-trunkline-degraded`; empty: the answer is whole."""

    @property
    def place(self) -> Place:
        return self.at, self.dependency, self.method, self.fault

    @property
    def given_up(self) -> bool:
        """True when the process stops waiting for its dependency and says, or does, something else."""
        return self.code != "DEADLINE_EXCEEDED" and (self.code != "OK" or bool(self.degraded))

    def __str__(self) -> str:
        return f"{self.at}->{self.dependency} {self.fault}: {self.method}"


@dataclass(frozen=True, slots=True)
class Table:
    """All rows, and what the words in them mean."""

    rows: Mapping[Place, Row]
    faults: Mapping[str, str]
    """What each fault is."""
    introduction: str


def read(source: Path = SOURCE) -> Table:
    """The table, expanded.

    Raises:
        WrongTable: two rows for one place, or a word that is declared nowhere.
    """
    with source.open("rb") as file:
        given = tomllib.load(file)
    rows: dict[Place, Row] = {}
    for number, pattern in enumerate(given["row"], 1):
        for row in _expand(pattern, given, number):
            if row.place in rows:
                raise WrongTable(f"row {number}: {row} is there already")
            rows[row.place] = row
    return Table(rows, given["faults"], given["introduction"])


def _expand(pattern: Mapping[str, Any], given: Mapping[str, Any], number: int) -> Iterable[Row]:
    said = {key: pattern[key] for key in ("code", "within_s", "reason", "degraded") if key in pattern}
    places = {"at", "dependency", "methods", "faults"}
    if pattern.keys() - said.keys() != places:
        raise WrongTable(
            f"row {number}: expected {sorted(places)}, got {sorted(pattern.keys() - said.keys())}"
        )
    for group in pattern["methods"]:
        if group not in given["methods"]:
            raise WrongTable(f"row {number}: no group of methods is called {group}")
        for method in given["methods"][group]:
            for fault in pattern["faults"]:
                yield Row(pattern["at"], pattern["dependency"], method, fault, **said)


def plain(method: str) -> str:
    """A method without the moment."""
    return method.partition(" ")[0]


def render(table: Table) -> str:
    """The table as Markdown: one section for each dependency, methods that answer alike on one line."""
    lines = ["# What callers see when something fails", "", table.introduction.strip(), ""]
    lines += ["| fault | |", "|---|---|"]
    lines += [f"| {name} | {text} |" for name, text in table.faults.items()]
    sections: dict[tuple[str, str], dict[str, dict[str, Row]]] = defaultdict(lambda: defaultdict(dict))
    for row in table.rows.values():
        sections[row.at, row.dependency][row.method][row.fault] = row
    for (at, dependency), methods in sections.items():
        lines += ["", f"## {at} without {dependency}", ""]
        alike: dict[tuple[str, ...], list[str]] = defaultdict(list)
        untouched = []
        for method, by_fault in methods.items():
            name = method.partition("/")[2]
            if all(by_fault[fault].code == "OK" and not by_fault[fault].degraded for fault in table.faults):
                untouched.append(name)
            else:
                alike[tuple(_cell(by_fault[fault]) for fault in table.faults)].append(name)
        lines += ["| methods | " + " | ".join(table.faults) + " |", "|---" * (len(table.faults) + 1) + "|"]
        lines += [f"| {', '.join(names)} | {' | '.join(cells)} |" for cells, names in alike.items()]
        if untouched:
            lines += ["", f"In full, whatever the fault: {', '.join(untouched)}."]
    return "\n".join(lines) + "\n"


def _cell(row: Row) -> str:
    if row.code != "OK":
        reason = f" {row.reason}" if row.reason != row.code else ""
        return f"{row.code}{reason}, {row.within_s:g} s"
    return f"OK, `{row.degraded}`, {row.within_s:g} s" if row.degraded else f"OK, {row.within_s:g} s"


if __name__ == "__main__":
    DOCUMENT.write_text(render(read()))
