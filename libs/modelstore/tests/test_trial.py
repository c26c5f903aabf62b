"""What the end of a trial means."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from trunkline_modelstore import trial
from trunkline_modelstore.trial import Refused, Result

SURE = json.dumps({"facts": "all"}) + "\n"


def module(directory: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> str:
    """A module that a trial runs as."""
    (directory / "some_trial.py").write_text(f"import sys\nfrom trunkline_modelstore import trial\n{body}\n")
    monkeypatch.setenv("PYTHONPATH", str(directory))
    return "some_trial"


def test_a_trial_says_what_is_sure_and_gets_the_directory(tmp_path, monkeypatch):
    name = module(tmp_path, monkeypatch, "trial.say_facts('none')\ntrial.say_facts(sys.argv[1])")
    assert trial.run(name, tmp_path) == Result(str(tmp_path))


def test_a_trial_that_refuses_says_why(tmp_path, monkeypatch):
    name = module(tmp_path, monkeypatch, "trial.say_refused('no graph')")
    with pytest.raises(Refused, match="no graph"):
        trial.run(name, tmp_path)


def test_a_trial_that_takes_too_long_says_nothing_about_the_model(tmp_path, monkeypatch):
    name = module(tmp_path, monkeypatch, "sys.stdin = open('/dev/null')\nwhile True: pass")
    with pytest.raises(RuntimeError, match="longer than"):
        trial.run(name, tmp_path, timeout_s=0.01)


def test_a_trial_that_kills_itself_refuses_the_model_and_this_process_lives(tmp_path, monkeypatch):
    name = module(tmp_path, monkeypatch, "import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)")
    with pytest.raises(Refused, match=r"ends the process \(SIGSEGV\)"):
        trial.run(name, tmp_path)


def test_a_crash_after_facts_is_told_beside_them():
    assert trial.judge(-11, SURE, "") == Result("all", "SIGSEGV")


@pytest.mark.parametrize(("code", "name"), [(-11, "SIGSEGV"), (-6, "SIGABRT"), (-7, "SIGBUS")])
def test_a_crash_before_anything_is_sure_refuses_the_model(code, name):
    with pytest.raises(Refused, match=rf"ends the process \({name}\)"):
        trial.judge(code, "[ WARNING ] noise of the engine\n", "")


@pytest.mark.parametrize("code", [-9, -15, 1])
def test_an_end_from_outside_or_a_defect_of_the_trial_refuses_nothing(code):
    with pytest.raises(RuntimeError, match=f"ended with {code}: why"):
        trial.judge(code, "", "why")


def test_what_the_engine_prints_is_no_verdict():
    assert trial.judge(0, f"{SURE}Loading...\n{{half", "") == Result("all")


def test_a_trial_that_says_nothing_refuses():
    with pytest.raises(Refused, match="without a word"):
        trial.judge(0, "", "")


def test_of_an_error_the_first_line_counts_that_is_not_of_the_sources():
    error = RuntimeError("Exception from src/x.cpp\n/src/core.cpp:3\n\n")
    assert trial.first_line(error) == "Exception from src/x.cpp"
    assert (
        trial.first_line(RuntimeError("Check failed at /src/a.cpp:1\nno such device\n")) == "no such device"
    )
    assert trial.first_line(RuntimeError()) == "RuntimeError"
