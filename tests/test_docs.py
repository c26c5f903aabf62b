"""What the documents point at is there."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
import typer.main

from trunkline_local.__main__ import app

ROOT = Path(__file__).parents[1]
LINK = re.compile(r"!?\[[^\]]*\]\(\s*<?([^)\s>]+)>?[^)]*\)")
FENCE = re.compile(r"^ *(`{3,}|~{3,}).*?^ *\1", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^#{1,6} +(.+?) *$", re.MULTILINE)
NOT_OURS = {"node_modules", "build", "dist"}


def _documents() -> list[Path]:
    found = []
    for directory, below, files in os.walk(ROOT):
        below[:] = [name for name in below if name not in NOT_OURS and not name.startswith(".")]
        found += [Path(directory, name) for name in files if name.endswith(".md")]
    return sorted(found)


DOCUMENTS = _documents()


def _anchors(document: Path) -> set[str]:
    """Of its headings, as GitHub makes them."""
    text = FENCE.sub("", document.read_text())
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in HEADING.findall(text)}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(document: Path) -> None:
    dead = []
    for link in LINK.findall(FENCE.sub("", document.read_text())):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (document.parent / path).resolve() if path else document
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in _anchors(target)):
            dead.append(link)
    assert dead == []


def _commands() -> set[str]:
    return set(typer.main.get_command(app).commands)  # type: ignore[attr-defined]


def _make_targets() -> set[str]:
    return set(re.findall(r"^([a-z][a-z-]*):(?!=)", (ROOT / "Makefile").read_text(), re.MULTILINE))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_that_is_named_exists(document: Path) -> None:
    # Code only: prose may well say that two things make sense.
    code = "\n".join(
        [*re.findall(r"^(?: {4}|\t)(.*)$", document.read_text(), re.MULTILINE)]
        + [match.group(0) for match in FENCE.finditer(document.read_text())]
        + re.findall(r"`([^`\n]+)`", FENCE.sub("", document.read_text()))
    )
    made = set(re.findall(r"(?:^|[\s;&|$])make +([a-z][a-z-]*)", code, re.MULTILINE))
    assert made <= _make_targets()
    run = set(re.findall(r"(?:^|[\s;&|$/])trunkline +([a-z][a-z-]*)", code, re.MULTILINE))
    assert run <= _commands()


def test_the_makefile_has_the_targets_that_are_promised() -> None:
    assert {"demo", "test", "test-long", "check", "up", "down", "protos", "models", "bench", "help"} <= (
        _make_targets()
    )
