"""Settings that cannot be: the start ends with 2, the variable's name and no secret."""

import pytest

from trunkline_hop.settings import load
from trunkline_translate.language import Direction
from trunkline_translate.settings import Settings


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TRUNKLINE_REGISTRY", "no port"),
        ("TRUNKLINE_REDIS_URL", "http://user:hunter2@127.0.0.1"),
        ("TRUNKLINE_REDIS_TIMEOUT_S", "0"),
        ("TRUNKLINE_CONVERSATION_TTL_S", "0"),
        ("TRUNKLINE_MAX_CONVERSATIONS", "0"),
        ("TRUNKLINE_LANGUAGES", "en"),
        ("TRUNKLINE_LANGUAGES", "en,english"),
        ("TRUNKLINE_TRITON", "http://127.0.0.1:8001"),
        ("TRUNKLINE_TRITON", "triton"),
        ("TRUNKLINE_TRITON_PROMPT", "codes,instruct"),
        ("TRUNKLINE_TRITON_LANGUAGES", "en,,es"),
        ("TRUNKLINE_VLLM", "127.0.0.1:8000"),
        ("TRUNKLINE_VLLM", "ftp://user:hunter2@127.0.0.1"),
        ("TRUNKLINE_VLLM_ARGUMENTS", "{"),
        ("TRUNKLINE_VLLM_ARGUMENTS", "[2]"),
        ("TRUNKLINE_VLLM_PROMPT", "chat"),
        ("TRUNKLINE_VLLM_LANGUAGES", "english,spanish"),
        ("TRUNKLINE_MODELS", "phrase-translator"),
        ("TRUNKLINE_MODEL_VERSIONS", "1"),
        ("TRUNKLINE_MODEL_BUDGET_BYTES", "0"),
        ("TRUNKLINE_DEVICES", "NPU,,CPU"),
        ("TRUNKLINE_DEVICE_THREADS", "-1"),
        ("TRUNKLINE_SEQUENCES", "0"),
        ("TRUNKLINE_QUEUE", "-1"),
        ("TRUNKLINE_FIRST_TOKEN_S", "0"),
        ("TRUNKLINE_STALL_S", "0"),
        ("TRUNKLINE_PROBE_S", "0"),
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


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"TRUNKLINE_TRITON": "127.0.0.1:8001"}, "TRUNKLINE_TRITON_TOKENIZER"),
        ({"TRUNKLINE_VLLM_ARGUMENTS": '{"tensor_parallel_size": 2}'}, "TRUNKLINE_VLLM_MODEL_DIR"),
        (
            {"TRUNKLINE_VLLM": "http://127.0.0.1:8000/v1", "TRUNKLINE_VLLM_MODEL_DIR": "/models/m"},
            "TRUNKLINE_VLLM_MODEL_DIR",
        ),
    ],
)
def test_settings_that_do_not_go_together_end_the_start_and_say_what_is_missing(
    monkeypatch, capsys, given, named
):
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as ended:
        load(Settings)
    assert ended.value.code == 2
    assert named in capsys.readouterr().err


def test_models_and_devices_are_lists_in_which_each_is_once():
    settings = Settings(models="models/b, models/a,models/b", devices="npu, GPU.1,cpu,NPU")
    assert settings.model_names == ("models/b", "models/a")
    assert settings.device_names == ("NPU", "GPU.1", "CPU")
    assert Settings(models="").model_names == ()


def test_a_model_translates_between_the_languages_of_the_server_unless_it_has_its_own():
    settings = Settings(languages="en, de", vllm_languages="en,fr,en")
    assert settings.language_codes == ("en", "de")
    assert settings.triton_directions == (Direction("en", "de"), Direction("de", "en"))
    assert settings.vllm_directions == (Direction("en", "fr"), Direction("fr", "en"))


def test_a_key_is_not_shown():
    assert "hunter2" not in repr(Settings(vllm_api_key="hunter2"))
