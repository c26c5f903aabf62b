"""Broken models, each of its own kind, and a check that ends as it may."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from recogniser_parts import ARTIFACT

from trunkline_modelstore.trial import Refused, Result
from trunkline_speech import check
from trunkline_speech.facts import Facts
from trunkline_speech.recogniser import Task

FACTS = Facts(("en",), (Task.TRANSCRIBE,), 8.0, True, 192, 1309, 1, word_times=False)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return Path(shutil.copytree(ARTIFACT, tmp_path / "model"))


def set_field(file: Path, **fields: object) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | fields))


def test_the_model_that_ships_is_good_and_tells_the_times_of_words(model):
    facts = check.run(model)
    assert facts.word_times, facts.why_no_word_times
    assert "en" in facts.languages


def other_graph(model: Path) -> None:
    shutil.copy(model / "openvino_encoder_model.xml", model / "openvino_decoder_model.xml")
    shutil.copy(model / "openvino_encoder_model.bin", model / "openvino_decoder_model.bin")


def half_weights(model: Path) -> None:
    weights = model / "openvino_encoder_model.bin"
    weights.write_bytes(weights.read_bytes()[: weights.stat().st_size // 2])


def no_graph(model: Path) -> None:
    (model / "openvino_tokenizer.xml").write_text("<net>")


def other_vocabulary(model: Path) -> None:
    set_field(model / "config.json", vocab_size=2000)


def other_window(model: Path) -> None:
    set_field(model / "signature.json", window_s=30)


def no_weights(model: Path) -> None:
    (model / "openvino_detokenizer.bin").unlink()


def other_tokenizer(model: Path) -> None:
    shutil.copy(model / "openvino_encoder_model.xml", model / "openvino_detokenizer.xml")
    shutil.copy(model / "openvino_encoder_model.bin", model / "openvino_detokenizer.bin")


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (other_graph, "openvino_decoder_model.xml"),
        (half_weights, "openvino_encoder_model|transcribe|ends the process"),
        (no_graph, "openvino_tokenizer.xml"),
        (other_vocabulary, "config.json has 2000"),
        (other_window, "chunk_length"),
        (no_weights, "it has no openvino_detokenizer.bin"),
        (other_tokenizer, "openvino_detokenizer.xml"),
    ],
)
def test_a_broken_model_is_refused_with_the_reason_and_this_process_lives(
    model: Path, damage: Callable[[Path], None], why: str
):
    damage(model)
    with pytest.raises(Refused, match=why):
        check.run(model)


def test_a_model_without_alignment_heads_serves_without_word_times(model):
    set_field(model / "generation_config.json", alignment_heads=[])
    facts = check.run(model)
    assert not facts.word_times
    assert "alignment_heads" in facts.why_no_word_times


def test_a_check_that_takes_too_long_says_nothing_about_the_model(model):
    with pytest.raises(RuntimeError, match="longer than"):
        check.run(model, timeout_s=0.01)


def test_a_crash_over_word_times_costs_the_word_times_only():
    facts = check.judge(Result(FACTS.to_json(), "SIGSEGV"))
    assert facts.languages == ("en",)
    assert facts.why_no_word_times == "asking for them ends the process (SIGSEGV)"


def test_without_a_crash_the_last_facts_hold():
    assert check.judge(Result(FACTS.to_json())) == FACTS
