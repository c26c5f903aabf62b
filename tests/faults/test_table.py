"""The table of faults says something about everything there is, and about nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from cases import CASES
from deployables import DEPLOYABLES, STORES, contracts, mains
from fault_table import DOCUMENT, Place, WrongTable, plain, read, render
from proxy import Fault

TABLE = read()
FAULTS = {fault.value for fault in Fault} - {Fault.PASS}


def _places() -> set[Place]:
    """Where the table has to have a row."""
    return {
        (one.name, dependency, case, fault)
        for one in DEPLOYABLES
        for dependency in one.needs
        for case in CASES
        if plain(case) in one.methods and one.name in CASES[case].at
        for fault in FAULTS
    }


def _named(places: set[Place]) -> list[str]:
    return sorted(" ".join(place) for place in places)


def test_every_service_that_can_be_run_is_declared() -> None:
    assert mains() == {one.main.__name__.partition(".")[0] for one in DEPLOYABLES}


def test_every_service_of_every_contract_is_served_by_a_declared_deployable() -> None:
    served = {service.full_name for one in DEPLOYABLES for service in one.services}
    assert {service.full_name for service in contracts()} - served == set()


def test_every_dependency_is_a_store_or_a_declared_deployable() -> None:
    names = {one.name for one in DEPLOYABLES} | set(STORES)
    assert {need for one in DEPLOYABLES for need in one.needs} - names == set()


def test_every_method_can_be_called_and_nothing_else_is() -> None:
    methods = {method for one in DEPLOYABLES for method in one.methods}
    assert methods - {plain(case) for case in CASES} == set()
    assert {plain(case) for case in CASES} - methods == set()


def test_every_method_dependency_and_fault_has_its_row() -> None:
    assert _named(_places() - TABLE.rows.keys()) == []


def test_no_row_is_about_something_that_does_not_exist() -> None:
    assert _named(TABLE.rows.keys() - _places()) == []


def test_every_fault_is_described() -> None:
    assert TABLE.faults.keys() == FAULTS


def test_rows_say_what_they_must() -> None:
    for row in TABLE.rows.values():
        assert (row.code == "OK") != bool(row.reason), row
        assert row.code == "OK" or not row.degraded, row
        assert row.within_s > 0, row


def test_the_document_says_what_the_table_says() -> None:
    assert DOCUMENT.read_text() == render(TABLE), "run: python tests/faults/fault_table.py"


HEAD = """
introduction = ""
[faults]
hang = "x"
[methods]
reads = ["S/Get"]
"""
ROW = """
[[row]]
at = "a"
dependency = "b"
methods = ["reads"]
faults = ["hang"]
code = "OK"
within_s = 1
"""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (HEAD + ROW + ROW, "a->b hang: S/Get is there already"),
        (HEAD + ROW.replace("reads", "writes"), "no group of methods is called writes"),
        (HEAD + ROW.replace('at = "a"', ""), "expected"),
        (HEAD + ROW + "\nspeed = 1", "speed"),
    ],
)
def test_a_table_that_contradicts_itself_is_refused(tmp_path: Path, text: str, said: str) -> None:
    source = tmp_path / "table.toml"
    source.write_text(text)
    with pytest.raises(WrongTable, match=said):
        read(source)
