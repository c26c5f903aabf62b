"""Broken models, each of its own kind."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from genai_parts import ARTIFACT, shipped

from trunkline_modelstore.trial import Refused
from trunkline_translate import check, model_files
from trunkline_translate.facts import Facts


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return Path(shutil.copytree(ARTIFACT, tmp_path / "model"))


def set_field(file: Path, **fields: object) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | fields))


def test_the_model_that_ships_is_good(model):
    facts = check.run(model)
    assert facts == shipped()
    assert len(facts.directions) == 12
    assert Facts.from_json(facts.to_json()) == facts


def other_graph(model: Path) -> None:
    shutil.copy(model / "openvino_tokenizer.xml", model / "openvino_model.xml")
    shutil.copy(model / "openvino_tokenizer.bin", model / "openvino_model.bin")


def half_weights(model: Path) -> None:
    weights = model / "openvino_model.bin"
    weights.write_bytes(weights.read_bytes()[: weights.stat().st_size // 2])


def no_graph(model: Path) -> None:
    (model / "openvino_detokenizer.xml").write_text("<net>")


def other_vocabulary(model: Path) -> None:
    set_field(model / "config.json", vocab_size=100_000)


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (other_graph, "openvino_model.xml"),
        (half_weights, "openvino_model|translate|ends the process"),
        (no_graph, "openvino_detokenizer.xml"),
        (other_vocabulary, "config.json has 100000"),
    ],
)
def test_a_broken_graph_is_refused_with_the_reason_and_this_process_lives(
    model: Path, damage: Callable[[Path], None], why: str
):
    damage(model)
    with pytest.raises(Refused, match=why):
        check.run(model)


@pytest.mark.parametrize(
    ("file", "fields", "why"),
    [
        ("signature.json", {"task": "recognize_speech"}, "its task is 'recognize_speech'"),
        ("signature.json", {"languages": ["English"]}, "languages"),
        ("signature.json", {"pairs": []}, "pairs is no list"),
        ("signature.json", {"pairs": [["en", "xx"]]}, "no pair of its languages"),
        ("signature.json", {"pairs": [["en", "en"]]}, "is one language"),
        ("signature.json", {"pairs": ["en"]}, "no pair"),
        ("signature.json", {"prompt": "poem"}, "there is codes, instruct"),
        ("signature.json", {"context_pairs": -1}, "context_pairs"),
        ("signature.json", {"context_pairs": True}, "context_pairs"),
        ("signature.json", {"max_tokens": 100_000}, "max_tokens is 100000"),
        ("signature.json", {"max_tokens": 8}, "max_tokens is 8"),
        ("signature.json", {"max_tokens": "512"}, "no whole number"),
        ("config.json", {"vocab_size": 0}, "vocab_size"),
        ("config.json", {"num_hidden_layers": None}, "num_hidden_layers"),
        ("config.json", {"max_position_embeddings": 1.5}, "max_position_embeddings"),
        ("config.json", {"head_dim": "large"}, "head_dim"),
        ("config.json", {"head_dim": -64}, "head_dim"),
        ("config.json", {"num_key_value_heads": [2]}, "num_key_value_heads"),
        ("generation_config.json", {"eos_token_id": None}, "eos_token_id"),
        ("generation_config.json", {"eos_token_id": [1, -1]}, "eos_token_id"),
        ("generation_config.json", {"eos_token_id": []}, "eos_token_id"),
    ],
)
def test_files_that_contradict_each_other_are_refused(model, file, fields, why):
    set_field(model / file, **fields)
    with pytest.raises(Refused, match=why):
        model_files.read(model)


def test_several_ends_are_read(model):
    set_field(model / "generation_config.json", eos_token_id=[1, 2])
    assert model_files.read(model).ends == (1, 2)


@pytest.mark.parametrize("name", [model_files.SIGNATURE, *model_files.LOADED])
def test_a_file_that_is_missing_or_empty_is_refused(model, name):
    (model / name).write_bytes(b"")
    with pytest.raises(Refused, match=f"{name} is empty"):
        model_files.read(model)
    (model / name).unlink()
    with pytest.raises(Refused, match=f"it has no {name}"):
        model_files.read(model)


@pytest.mark.parametrize("content", ["{", "[]"])
def test_a_file_that_is_no_object_is_refused(model, content):
    (model / "config.json").write_text(content)
    with pytest.raises(Refused, match="no JSON"):
        model_files.read(model)


def test_a_chat_template_that_is_none_is_refused(model):
    (model / "chat_template.jinja").write_text("{% for %}")
    with pytest.raises(Refused, match="malformed"):
        model_files.read(model)


def test_a_chat_template_that_fails_is_refused(model):
    (model / "chat_template.jinja").write_text("{{ raise_exception('no') }}")
    with pytest.raises(Refused, match="the chat template fails: no"):
        check.run(model)
