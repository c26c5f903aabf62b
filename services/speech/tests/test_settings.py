"""Settings that cannot be: the start ends with 2, the variable's name and no secret."""

import pytest

from trunkline_hop.settings import load
from trunkline_speech.settings import Settings


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TRUNKLINE_REGISTRY", "no port"),
        ("TRUNKLINE_REDIS_URL", "http://user:hunter2@127.0.0.1"),
        ("TRUNKLINE_REDIS_TIMEOUT_S", "0"),
        ("TRUNKLINE_MODELS", "whisper-micro"),
        ("TRUNKLINE_MODEL_VERSIONS", "0"),
        ("TRUNKLINE_MODEL_BUDGET_BYTES", "0"),
        ("TRUNKLINE_DEVICES", "NPU,,CPU"),
        ("TRUNKLINE_PIPELINES", "0"),
        ("TRUNKLINE_PIPELINE_THREADS", "-1"),
        ("TRUNKLINE_QUEUE", "-1"),
        ("TRUNKLINE_MAX_SESSIONS", "0"),
        ("TRUNKLINE_RECOGNIZE_MAX_AUDIO_S", "0"),
    ],
)
def test_a_wrong_setting_ends_the_start_and_names_the_variable(monkeypatch, capsys, name, value):
    monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as ended:
        load(Settings)
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith(f"{name}: ")
    assert "hunter2" not in said


def test_models_and_devices_are_lists_in_which_each_is_once():
    settings = Settings(models="models/b, models/a,models/b", devices="npu, GPU.1,cpu,NPU")
    assert settings.model_names == ("models/b", "models/a")
    assert settings.device_names == ("NPU", "GPU.1", "CPU")
