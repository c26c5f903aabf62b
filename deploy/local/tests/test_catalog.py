"""What of a model's directory becomes a version."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from trunkline.registry.v1 import registry_pb2 as registry
from trunkline_local.catalog import FORMATS, SIGNATURE, VERSION_FILES, Bundle, bundles
from trunkline_phrase_translator import artifact as translator
from trunkline_whisper_micro import artifact


def bundle(place: Path, task: str, *names: str) -> Bundle:
    directory = place / "model" / "artifact"
    directory.mkdir(parents=True)
    (directory / SIGNATURE).write_text(json.dumps({"task": task}))
    for name in names:
        (directory / name).write_text(name)
    return Bundle("model", directory)


@pytest.mark.parametrize("task", VERSION_FILES)
def test_a_version_has_the_signature_and_the_files_of_its_task_and_no_others(tmp_path, task):
    model = bundle(tmp_path, task, *VERSION_FILES[task], "CARD.md", "evaluation.json")
    assert set(model.files()) == {SIGNATURE, *VERSION_FILES[task]}
    assert bundles(tmp_path) == [model]


def test_a_task_that_is_not_known_is_an_error_that_says_which_are(tmp_path):
    with pytest.raises(ValueError, match="recognize_speech"):
        bundle(tmp_path, "sing").files()


def test_a_model_of_speech_is_what_its_recipe_writes(tmp_path):
    assert {SIGNATURE, *VERSION_FILES["recognize_speech"]} == set(artifact.VERSION_FILES)
    assert FORMATS["recognize_speech"] == registry.FORMAT_OPENVINO_IR
    assert artifact.signature(["en"], 8.0)["task"] in VERSION_FILES


def test_a_model_of_translation_is_what_its_recipe_writes():
    assert {SIGNATURE, *VERSION_FILES["translate"]} == set(translator.VERSION_FILES)
    assert FORMATS["translate"] == registry.FORMAT_OPENVINO_IR
    assert translator.signature(["en"], 3, 512)["task"] in VERSION_FILES
