"""What the check found is kept for the next start."""

from __future__ import annotations

from pathlib import Path

import pytest
from recogniser_parts import ARTIFACT, meters

from trunkline_modelstore import LocalVersion
from trunkline_speech import check
from trunkline_speech.facts import Facts
from trunkline_speech.loader import WhisperLoader
from trunkline_speech.recogniser import Task
from trunkline_speech.verdicts import verdicts

FACTS = Facts(("en", "es"), (Task.TRANSCRIBE,), 8.0, True, 192, 1309, 4_500_000, word_times=True)


def test_facts_are_found_again(tmp_path):
    verdicts(tmp_path).keep("a" * 64, FACTS)
    assert verdicts(tmp_path).find("a" * 64) == FACTS


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"languages": []}', "null"])
def test_damaged_facts_are_none(tmp_path, damage):
    verdicts(tmp_path).keep("a" * 64, FACTS)
    (file,) = tmp_path.iterdir()
    file.write_text(damage)
    assert verdicts(tmp_path).find("a" * 64) is None


def test_a_version_is_checked_once(tmp_path, monkeypatch):
    runs: list[Path] = []
    run = check.run
    monkeypatch.setattr(check, "run", lambda directory: (runs.append(directory), run(directory))[1])
    files = {path.name: path for path in ARTIFACT.iterdir()}
    version = LocalVersion("models/m/versions/1", "d" * 64, ARTIFACT, files, 1)
    for _ in range(2):
        loader = WhisperLoader(("CPU",), 1, 10, meters(), verdicts=verdicts(tmp_path / "checked"))
        model = loader.load(version)
        assert model.word_times
        loader.unload(model)
    assert runs == [ARTIFACT]
