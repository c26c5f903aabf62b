"""Settings: what stops a start, and how it is said."""

from __future__ import annotations

import os

import pytest
from pydantic import ValidationError

from trunkline_hop.settings import ServiceSettings, load


class Settings(ServiceSettings):
    redis_url: str = "redis://localhost"


@pytest.fixture(autouse=True)
def clean(monkeypatch):
    for key in list(os.environ):
        if key.startswith("TRUNKLINE_"):
            monkeypatch.delenv(key)


def test_the_environment_is_read_under_the_prefix(monkeypatch):
    monkeypatch.setenv("TRUNKLINE_PORT", "50099")
    monkeypatch.setenv("TRUNKLINE_REDIS_URL", "redis://there")
    settings = load(Settings)
    assert (settings.port, settings.redis_url) == (50099, "redis://there")


def test_an_empty_variable_is_no_value(monkeypatch):
    monkeypatch.setenv("TRUNKLINE_PORT", "")
    assert load(Settings).port == 0


def test_an_unknown_key_stops_the_start_and_names_the_nearest(monkeypatch, capsys):
    monkeypatch.setenv("TRUNKLINE_CONCURENCY_LIMIT", "3")
    with pytest.raises(SystemExit) as stopped:
        load(Settings)
    assert stopped.value.code == 2
    assert (
        "TRUNKLINE_CONCURENCY_LIMIT: unknown setting; did you mean TRUNKLINE_CONCURRENCY_LIMIT?"
        in capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("key", "value"),
    [("PORT", "70000"), ("PORT", "http"), ("QUEUE_TTL_S", "0"), ("TRACE_SAMPLE_RATIO", "2"), ("LOG_LEVEL", "loud"),
     ("CONCURRENCY_LIMIT", "0"), ("TLS_CA", "/nowhere/ca.pem"), ("SESSION_AGE_S", "-1")],
)  # fmt: skip
def test_a_bad_value_stops_the_start_and_names_its_key(monkeypatch, capsys, key, value):
    monkeypatch.setenv(f"TRUNKLINE_{key}", value)
    with pytest.raises(SystemExit) as stopped:
        load(Settings)
    assert stopped.value.code == 2
    assert f"TRUNKLINE_{key}: " in capsys.readouterr().err


def test_every_problem_is_said_at_once(monkeypatch, capsys):
    monkeypatch.setenv("TRUNKLINE_PORT", "-1")
    monkeypatch.setenv("TRUNKLINE_NONSENSE", "1")
    with pytest.raises(SystemExit):
        load(Settings)
    said = capsys.readouterr().err
    assert "TRUNKLINE_PORT" in said and "TRUNKLINE_NONSENSE" in said


@pytest.mark.parametrize(
    "half",
    [("tls_cert",), ("tls_key",), ("tls_client_cert", "tls_ca"), ("tls_client_ca",),
     ("tls_client_cert", "tls_client_key")],
)  # fmt: skip
def test_half_a_pair_of_tls_files_is_refused(half):
    with pytest.raises(ValidationError, match="TRUNKLINE_TLS"):
        ServiceSettings(**dict.fromkeys(half, __file__))
