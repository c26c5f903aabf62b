"""A real WhisperPipeline on a real model, healthy and not."""

from __future__ import annotations

import asyncio
import json
import math
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from recogniser_parts import ARTIFACT, meters, noise, until

from trunkline_hop.errors import BadRequest, NotAllowed, Unavailable
from trunkline_modelstore import LocalVersion
from trunkline_speech import model_files
from trunkline_speech.facts import Facts
from trunkline_speech.loader import WhisperLoader
from trunkline_speech.pipelines import CannotOpen
from trunkline_speech.recogniser import Hearing, Task
from trunkline_speech.transcript import RATE_HZ
from trunkline_speech.whisper import OpenVinoPipeline, Piecework, Transcript, WhisperModel

VERSION = "models/whisper-micro/versions/1"


class Mortal:
    """A real pipeline on a device that can die."""

    def __init__(self, alive: dict[str, bool], device: str, directory: Path, facts: Facts) -> None:
        if device not in alive:
            raise CannotOpen("there is none")
        self.alive = alive
        self.device = device
        self.pipeline = OpenVinoPipeline(directory, "CPU", facts, 1)

    def run(self, work: Piecework, stopped: Callable[[], bool]) -> Transcript:
        if not self.alive[self.device]:
            raise RuntimeError("Infer request failed")
        return self.pipeline.run(work, stopped)

    def close(self) -> None:
        self.pipeline.close()


def version(directory: Path = ARTIFACT) -> LocalVersion:
    files = {path.name: path for path in directory.iterdir()}
    return LocalVersion(VERSION, "d" * 64, directory, files, sum(p.stat().st_size for p in files.values()))


@pytest.fixture(scope="module")
def facts() -> Facts:
    return model_files.read(ARTIFACT)


@pytest.fixture(scope="module")
def pipeline(facts) -> OpenVinoPipeline:
    return OpenVinoPipeline(ARTIFACT, "CPU", facts, 1)


def never() -> bool:
    return False


def test_words_are_in_order_within_the_audio_and_in_a_language_of_the_model(pipeline, facts):
    for seconds in (0.0, 0.05, 0.3, 1.0, facts.window_s):
        found = pipeline.run(Piecework(noise(seconds)), never)
        bounds = [bound for word in found.words for bound in (word.start, word.end)]
        assert bounds == sorted(bounds)
        assert all(0 <= bound <= round(seconds * RATE_HZ) for bound in bounds)
        assert found.language in facts.languages
        assert found.degradations == ()


def test_the_same_audio_gives_the_same_words_whatever_was_heard_before(pipeline):
    first = pipeline.run(Piecework(noise(3), "en"), never)
    pipeline.run(Piecework(noise(2, seed=1), "es"), never)
    assert pipeline.run(Piecework(noise(3), "en"), never) == first


def test_a_language_that_is_asked_for_is_the_answers(pipeline, facts):
    for language in facts.languages:
        assert pipeline.run(Piecework(noise(1), language), never).language == language


def test_without_word_times_they_are_estimated_and_said_to_be(facts):
    plain = OpenVinoPipeline(ARTIFACT, "CPU", facts.without_word_times("no"), 1)
    found = plain.run(Piecework(noise(2)), never)
    assert found.degradations == ("word_times_estimated",)
    assert all(0 <= word.start <= word.end <= 2 * RATE_HZ for word in found.words)


def test_hints_that_do_not_fit_are_cut_and_a_full_decoder_does_not_end_the_process(pipeline):
    few = pipeline.run(Piecework(noise(2), "en", hints=("Wednesday",)), never)
    assert few.degradations == ()
    many = pipeline.run(Piecework(noise(8), "en", hints=("Wednesday afternoon",) * 100), never)
    assert many.degradations == ("hints_cut",)
    long = pipeline.run(Piecework(noise(8), "en", hints=("á" * 100, "x" * 100)), never)
    assert long.degradations == ("hints_cut",)


def test_a_pipeline_that_is_stopped_is_out_within_two_tokens_and_works_on(pipeline):
    asked = []

    def at_once() -> bool:
        asked.append(True)
        return True

    pipeline.run(Piecework(noise(8), "en"), at_once)
    assert len(asked) <= 2
    whole = pipeline.run(Piecework(noise(3), "en"), never)
    assert pipeline.run(Piecework(noise(3), "en"), never) == whole


def test_a_device_that_this_machine_lacks_is_refused_in_words_of_our_own(facts):
    with pytest.raises(CannotOpen, match="none that OpenVINO knows"):
        OpenVinoPipeline(ARTIFACT, "NPU", facts, 1)


def test_a_prompt_is_not_sent_to_a_device_that_refuses_it(facts):
    pipeline = OpenVinoPipeline(ARTIFACT, "CPU", facts, 1)
    pipeline._hints = False
    assert pipeline.run(Piecework(noise(1), hints=("a",)), never).degradations == ("hints_ignored",)


@pytest.fixture(scope="module")
def model() -> Iterator[WhisperModel]:
    loader = WhisperLoader(("NPU", "GPU", "CPU"), 2, 10, meters())
    loaded = loader.load(version())
    loader.warm(loaded)
    yield loaded
    loader.unload(loaded)


async def test_a_version_that_is_loaded_says_what_it_is(model, facts):
    assert (model.name, model.digest, model.engine) == (VERSION, "d" * 64, "openvino")
    assert (model.languages, model.tasks, model.window) == (facts.languages, facts.tasks, facts.window)
    assert model.word_times
    assert model.size_bytes > 2 * facts.files_bytes
    assert [(device.name, device.active, device.pipelines) for device in model.devices] == [
        ("NPU", False, 0),
        ("GPU", False, 0),
        ("CPU", True, 2),
    ]
    heard = await model.hear(noise(1), Hearing(language="en"))
    assert (heard.device, heard.degradations, heard.hypothesis.language) == ("CPU", (), "en")
    assert heard.hypothesis.timed


async def test_what_is_not_the_models_is_refused(model):
    with pytest.raises(BadRequest, match="LANGUAGE_UNSUPPORTED"):
        await model.hear(noise(1), Hearing(language="ja"))
    with pytest.raises(BadRequest, match="TASK_UNSUPPORTED"):
        await model.hear(noise(1), Hearing(task=Task.TRANSLATE))


@pytest.mark.parametrize(
    "samples",
    [
        noise(1).astype(np.float64),
        (noise(1) * 32767).astype(np.int16),
        np.zeros((2, 100), np.float32),
        np.array([0.0, math.nan], np.float32),
        np.array([0.0, math.inf], np.float32),
        noise(31),
    ],
    ids=["float64", "int16", "stereo", "nan", "inf", "too long"],
)
async def test_what_is_no_speech_of_ours_never_reaches_the_engine(model, samples):
    with pytest.raises(ValueError, match=r"expected|finite"):
        await model.hear(samples, Hearing())


async def test_cancelled_hearing_leaves_a_model_that_hears(model):
    tasks = [asyncio.create_task(model.hear(noise(8), Hearing(language="en"))) for _ in range(6)]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    one, two = await asyncio.gather(*(model.hear(noise(3), Hearing(language="en")) for _ in range(2)))
    assert one == two


async def test_speech_goes_on_on_the_next_device_when_one_dies():
    alive = {"GPU": True, "CPU": True}
    loader = WhisperLoader(
        ("NPU", "GPU", "CPU"),
        1,
        10,
        meters(),
        opens=lambda directory, facts: lambda device: Mortal(alive, device, directory, facts),
    )
    model = loader.load(version())
    before = await model.hear(noise(2), Hearing(language="en"))
    alive["GPU"] = False
    after = await asyncio.gather(*(model.hear(noise(2), Hearing(language="en")) for _ in range(3)))
    assert (before.device, before.degradations) == ("GPU", ())
    assert {(heard.device, heard.degradations) for heard in after} == {("CPU", ("device_lost",))}
    assert all(heard.hypothesis == before.hypothesis for heard in after)
    alive["CPU"] = False
    with pytest.raises(Unavailable, match="DEVICE_LOST"):
        await model.hear(noise(2), Hearing(language="en"))
    await until(lambda: not any(device.active for device in model.devices))
    loader.unload(model)


def test_a_version_that_is_no_model_of_speech_is_refused_for_good(tmp_path):
    loader = WhisperLoader(("CPU",), 1, 10, meters())
    (tmp_path / "model.onnx").write_bytes(b"x")
    with pytest.raises(NotAllowed, match=r"it has no signature\.json"):
        loader.load(version(tmp_path))
    (tmp_path / "signature.json").write_text("{}")
    with pytest.raises(NotAllowed, match=r"it has no config\.json"):
        loader.load(version(tmp_path))


def test_a_version_without_a_device_may_load_another_time(tmp_path):
    with pytest.raises(Unavailable, match="DEVICE_LOST"):
        WhisperLoader(("NPU",), 1, 10, meters()).load(version())


def test_a_model_of_one_language_says_so_whatever_it_hears(tmp_path):
    copy = Path(shutil.copytree(ARTIFACT, tmp_path / "model"))
    signature = json.loads((copy / "signature.json").read_text()) | {"languages": ["es"]}
    (copy / "signature.json").write_text(json.dumps(signature))
    pipeline = OpenVinoPipeline(copy, "CPU", model_files.read(copy), 1)
    assert pipeline.run(Piecework(noise(2)), never).language == "es"
