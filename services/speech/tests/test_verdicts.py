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
from trunkline_speech.verdicts import Verdicts

FACTS = Facts(("en", "es"), (Task.TRANSCRIBE,), 8.0, True, 192, 1309, 4_500_000, word_times=True)


def test_a_verdict_is_found_by_digest_engine_and_nothing_else(tmp_path):
    verdicts = Verdicts(tmp_path / "checked")
    assert verdicts.find("a" * 64) is None
    verdicts.keep("a" * 64, FACTS)
    assert verdicts.find("a" * 64) == FACTS
    assert Verdicts(tmp_path / "checked").find("a" * 64) == FACTS
    assert verdicts.find("b" * 64) is None
    assert Verdicts(tmp_path / "checked", engine="another").find("a" * 64) is None


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"languages": []}', "null"])
def test_a_damaged_verdict_is_none(tmp_path, damage):
    verdicts = Verdicts(tmp_path)
    verdicts.keep("a" * 64, FACTS)
    (file,) = tmp_path.iterdir()
    file.write_text(damage)
    assert verdicts.find("a" * 64) is None


def test_a_version_is_checked_once(tmp_path, monkeypatch):
    runs: list[Path] = []
    run = check.run
    monkeypatch.setattr(check, "run", lambda directory: (runs.append(directory), run(directory))[1])
    files = {path.name: path for path in ARTIFACT.iterdir()}
    version = LocalVersion("models/m/versions/1", "d" * 64, ARTIFACT, files, 1)
    for _ in range(2):
        loader = WhisperLoader(("CPU",), 1, 10, meters(), verdicts=Verdicts(tmp_path / "checked"))
        model = loader.load(version)
        assert model.word_times
        loader.unload(model)
    assert runs == [ARTIFACT]


def test_a_verdict_that_cannot_be_kept_keeps_no_model_from_serving(tmp_path):
    (tmp_path / "checked").write_text("in the way")
    files = {path.name: path for path in ARTIFACT.iterdir()}
    loader = WhisperLoader(("CPU",), 1, 10, meters(), verdicts=Verdicts(tmp_path / "checked"))
    loader.unload(loader.load(LocalVersion("models/m/versions/1", "d" * 64, ARTIFACT, files, 1)))
