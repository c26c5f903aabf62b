"""The plan: ports, replicas, and exactly the settings of each service."""

import os
import socket

import pytest

from trunkline_local.services import Service, environment
from trunkline_local.state import DataDirectory
from trunkline_local.suite import ENGINES, Options, WrongOptions, check_environment, plan

MODELS = {
    "models/fraud": "score_transaction",
    "models/recommender": "recommend",
    "models/whisper-micro": "recognize_speech",
    "models/phrase-translator": "translate",
}


@pytest.fixture
def planned(tmp_path, monkeypatch):
    monkeypatch.delenv("TRUNKLINE_REDIS_URL", raising=False)
    monkeypatch.delenv("TRUNKLINE_POSTGRES_DSN", raising=False)
    for name in list(os.environ):
        if name.startswith(ENGINES):
            monkeypatch.delenv(name)

    def planned(models=MODELS, **options):
        return plan(Options(tmp_path, **{"port_base": 0} | options), DataDirectory(tmp_path), 4317, models)

    return planned


def by_name(plan):
    return {process.unit.name: process for process in plan.processes}


def test_replicas_have_ports_of_their_own_and_callers_know_all_of_them(planned):
    found = planned(replicas={"ranking": 3})
    names = [process.unit.name for process in found.processes]
    assert names == [
        "valkey",
        "postgres",
        "gateway",
        "features",
        "retrieval",
        "ranking",
        "ranking-2",
        "ranking-3",
        "speech",
        "translate",
        "registry",
    ]
    targets = found.targets["ranking"].split(",")
    assert len(set(targets)) == 3
    gateway = by_name(found)["gateway"].unit.command().environment
    assert gateway["TRUNKLINE_RANKING"] == found.targets["ranking"]


def test_every_service_gets_its_own_settings_and_no_inherited_ones(planned, monkeypatch):
    monkeypatch.setenv("TRUNKLINE_REDIS_URL", "redis://elsewhere:6379/0")
    found = by_name(planned())
    assert "valkey" not in found
    assert found["features"].needs == ()
    assert found["features"].unit.command().environment["TRUNKLINE_REDIS_URL"] == "redis://elsewhere:6379/0"
    for name in ("speech", "translate"):
        assert found[name].unit.command().environment["TRUNKLINE_REDIS_URL"] == "redis://elsewhere:6379/0"
    for name in ("gateway", "ranking", "registry", "retrieval"):
        assert "TRUNKLINE_REDIS_URL" not in found[name].unit.command().environment
    monkeypatch.setenv("TRUNKLINE_ANYTHING", "1")
    assert [name for name in environment({"PORT": "1"}) if name.startswith("TRUNKLINE_")] == [
        "TRUNKLINE_PORT"
    ]


def test_a_setting_that_nobody_would_read_stops_the_start():
    check_environment({"TRUNKLINE_REDIS_URL": "redis://x", "TRUNKLINE_VLLM_MODEL": "x", "PATH": "/bin"})
    with pytest.raises(WrongOptions, match="TRUNKLINE_REDIS: not read here"):
        check_environment({"TRUNKLINE_REDIS": "redis://x"})


def test_each_service_gets_the_models_that_it_can_serve(planned):
    found = planned()
    assert found.models == {
        "ranking": ["models/fraud", "models/recommender"],
        "speech": ["models/whisper-micro"],
        "translate": ["models/phrase-translator"],
    }
    environments = {name: process.unit.command() for name, process in by_name(found).items()}
    assert environments["ranking"].environment["TRUNKLINE_MODELS"] == "models/fraud,models/recommender"
    assert environments["speech"].environment["TRUNKLINE_MODELS"] == "models/whisper-micro"
    assert environments["translate"].environment["TRUNKLINE_MODELS"] == "models/phrase-translator"
    for name in ("speech", "translate"):
        assert environments["gateway"].environment[f"TRUNKLINE_{name.upper()}"] == found.targets[name]
    assert found.left_out == []


def test_a_service_without_a_model_is_left_out_in_one_sentence(planned):
    found = planned(models={"models/fraud": "score_transaction"})
    for name in ("speech", "translate"):
        assert name not in by_name(found)
        assert f"TRUNKLINE_{name.upper()}" not in by_name(found)["gateway"].unit.command().environment
    speech, translate = found.left_out
    assert speech.startswith("speech is left out: no ")
    assert translate.startswith("translate is left out: no ")
    with pytest.raises(WrongOptions, match="--replicas speech=2"):
        planned(models={"models/fraud": "score_transaction"}, replicas={"speech": 2})


def test_engines_outside_of_the_suite_are_told_to_translation_and_to_nobody_else(planned, monkeypatch):
    given = {
        "TRUNKLINE_VLLM": "http://10.0.0.7:8000/v1",
        "TRUNKLINE_VLLM_API_KEY": "secret",
        "TRUNKLINE_TRITON": "10.0.0.8:8001",
        "TRUNKLINE_PROBE_S": "1",
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    services = {name: one for name, one in by_name(planned()).items() if isinstance(one.unit, Service)}
    for name, process in services.items():
        told = {key: value for key, value in process.unit.command().environment.items() if key in given}
        assert told == (given if name == "translate" else {})


@pytest.mark.parametrize("replicas", [{"gateway": 2}, {"ranking": 0}, {"speling": 2}])
def test_replicas_that_cannot_be_are_refused(planned, replicas):
    with pytest.raises(WrongOptions, match="--replicas"):
        planned(replicas=replicas)


def test_a_port_that_is_taken_names_the_way_out(planned):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        with pytest.raises(WrongOptions, match="--port-base"):
            planned(port_base=listener.getsockname()[1])
