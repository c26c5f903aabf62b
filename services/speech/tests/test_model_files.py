"""What a model's files may not say."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from trunkline_modelstore.trial import Refused
from trunkline_speech import model_files
from trunkline_speech.facts import Facts
from trunkline_speech.recogniser import Task

GOOD = {
    "signature.json": {
        "task": "recognize_speech",
        "languages": ["en", "es"],
        "tasks": ["transcribe"],
        "window_s": 8.0,
    },
    "config.json": {
        "vocab_size": 1309,
        "num_mel_bins": 80,
        "max_source_positions": 400,
        "max_target_positions": 192,
        "decoder_layers": 2,
        "decoder_attention_heads": 3,
        "decoder_start_token_id": 897,
        "eos_token_id": 896,
        "pad_token_id": 896,
    },
    "generation_config.json": {
        "decoder_start_token_id": 897,
        "eos_token_id": 896,
        "pad_token_id": 896,
        "no_timestamps_token_id": 907,
        "prev_sot_token_id": 905,
        "suppress_tokens": [],
        "begin_suppress_tokens": [220],
        "max_length": 128,
        "is_multilingual": True,
        "lang_to_id": {"<|en|>": 898, "<|es|>": 899, "<|de|>": 900},
        "task_to_id": {"transcribe": 903, "translate": 902},
        "alignment_heads": [[0, 1], [1, 2]],
    },
    "preprocessor_config.json": {
        "sampling_rate": 16000,
        "hop_length": 160,
        "n_fft": 400,
        "feature_size": 80,
        "chunk_length": 8,
        "n_samples": 128000,
        "nb_max_frames": 800,
    },
}
GRAPHS = [name for name in model_files.LOADED if name.endswith((".xml", ".bin"))]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    for name, value in GOOD.items():
        (tmp_path / name).write_text(json.dumps(value))
    for name in GRAPHS:
        (tmp_path / name).write_bytes(b"graph")
    return tmp_path


def change(model: Path, file: str, **fields: object) -> None:
    """Sets fields; None leaves them out."""
    value = json.loads((model / file).read_text()) | fields
    kept = {name: field for name, field in value.items() if field is not None}
    (model / file).write_text(json.dumps(kept))


def test_files_that_agree_are_facts(model):
    assert model_files.read(model) == Facts(
        languages=("en", "es"),
        tasks=(Task.TRANSCRIBE,),
        window_s=8.0,
        multilingual=True,
        places=192,
        vocabulary=1309,
        files_bytes=sum((model / name).stat().st_size for name in model_files.LOADED),
        word_times=True,
    )


def test_facts_survive_as_json(model):
    facts = model_files.read(model)
    assert Facts.from_json(facts.to_json()) == facts


@pytest.mark.parametrize("name", ["signature.json", *model_files.LOADED])
def test_a_file_that_is_missing_or_empty_is_named(model, name):
    (model / name).write_bytes(b"")
    with pytest.raises(Refused, match=f"{re.escape(name)} is empty"):
        model_files.read(model)
    (model / name).unlink()
    with pytest.raises(Refused, match=f"it has no {re.escape(name)}"):
        model_files.read(model)


@pytest.mark.parametrize("name", GOOD)
@pytest.mark.parametrize("content", ["{", "[]", "\x00"])
def test_what_is_no_json_object_is_refused(model, name, content):
    (model / name).write_text(content)
    with pytest.raises(Refused, match=re.escape(name)):
        model_files.read(model)


SIGNATURE, CONFIG, GENERATION, FEATURES = GOOD


@pytest.mark.parametrize(
    ("file", "fields", "why"),
    [
        (SIGNATURE, {"task": "score_transaction"}, "serves recognize_speech"),
        (SIGNATURE, {"languages": []}, "languages"),
        (SIGNATURE, {"languages": ["en", "en"]}, "twice"),
        (SIGNATURE, {"languages": ["en", "fr"]}, r"without <\|fr\|>"),
        (SIGNATURE, {"tasks": ["sing"]}, "tasks has sing"),
        (SIGNATURE, {"tasks": None}, "tasks"),
        (SIGNATURE, {"window_s": 0}, "window_s"),
        (SIGNATURE, {"window_s": 30.5}, "window_s"),
        (SIGNATURE, {"window_s": True}, "window_s"),
        (SIGNATURE, {"window_s": 9.0}, "chunk_length"),
        (CONFIG, {"vocab_size": "1309"}, "vocab_size"),
        (CONFIG, {"vocab_size": 800}, "vocabulary has 0 to 799"),
        (CONFIG, {"decoder_start_token_id": None}, "decoder_start_token_id"),
        (CONFIG, {"decoder_start_token_id": 896}, "differ in decoder_start_token_id"),
        (CONFIG, {"max_source_positions": 1500}, "max_source_positions"),
        (CONFIG, {"max_target_positions": None}, "max_target_positions"),
        (CONFIG, {"num_mel_bins": 128}, "feature_size"),
        (GENERATION, {"eos_token_id": 1309}, "eos_token_id is 1309"),
        (GENERATION, {"eos_token_id": -1}, "eos_token_id"),
        (GENERATION, {"pad_token_id": None}, "pad_token_id"),
        (GENERATION, {"no_timestamps_token_id": 50363}, "no_timestamps_token_id is 50363"),
        (GENERATION, {"no_timestamps_token_id": None}, "no_timestamps_token_id"),
        (GENERATION, {"no_timestamps_token_id": 896}, "one id"),
        (GENERATION, {"prev_sot_token_id": 50361}, "prev_sot_token_id"),
        (GENERATION, {"suppress_tokens": None}, "published models"),
        (GENERATION, {"suppress_tokens": [50000]}, "suppress_tokens"),
        (GENERATION, {"begin_suppress_tokens": [1309]}, "begin_suppress_tokens"),
        (GENERATION, {"max_length": 0}, "max_length"),
        (GENERATION, {"lang_to_id": None}, "lang_to_id"),
        (GENERATION, {"lang_to_id": {"<|en|>": 898, "<|es|>": 50262}}, "50262"),
        (GENERATION, {"lang_to_id": {"<|en|>": 898, "<|es|>": 898}}, "twice"),
        (GENERATION, {"task_to_id": {"transcribe": 903}}, "without translate"),
        (GENERATION, {"is_multilingual": False}, "not multilingual"),
        (GENERATION, {"alignment_heads": [[2, 0]]}, "alignment_heads has"),
        (GENERATION, {"alignment_heads": [[0, 3]]}, "alignment_heads has"),
        (GENERATION, {"alignment_heads": [7]}, "alignment_heads"),
        (FEATURES, {"sampling_rate": 8000}, "sampling_rate is 8000, not 16000"),
        (FEATURES, {"hop_length": 80}, "hop_length"),
        (FEATURES, {"n_fft": None}, "n_fft"),
        (FEATURES, {"chunk_length": 30}, "chunk_length"),
        (FEATURES, {"n_samples": 480000}, "n_samples"),
        (FEATURES, {"nb_max_frames": 3000}, "nb_max_frames"),
    ],
)
def test_what_does_not_fit_together_is_refused_with_the_reason(model, file, fields, why):
    change(model, file, **fields)
    with pytest.raises(Refused, match=why):
        model_files.read(model)


def test_a_vocabulary_without_time_stamps_has_no_word_times(model):
    change(model, CONFIG, vocab_size=1000)
    facts = model_files.read(model)
    assert not facts.word_times
    assert "92 time stamps" in facts.why_no_word_times


def test_without_alignment_heads_there_are_no_word_times(model):
    change(model, GENERATION, alignment_heads=None)
    assert not model_files.read(model).word_times


def test_an_english_model_needs_no_tokens_for_languages(model):
    change(model, GENERATION, is_multilingual=False, lang_to_id=None, task_to_id=None)
    change(model, SIGNATURE, languages=["en"])
    assert not model_files.read(model).multilingual
