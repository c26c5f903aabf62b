"""pocketsphinx, really: its processes, what it hears, and what ends it."""

from __future__ import annotations

import asyncio
import os
import signal
import wave
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from recogniser_parts import BOUND_S, meters, noise, until

from trunkline_hop.errors import BadRequest, Unavailable
from trunkline_speech import sphinx_worker
from trunkline_speech.recogniser import Hearing, Samples, Task
from trunkline_speech.sphinx import NAME, Sphinx, SphinxPipeline, Workers
from trunkline_speech.transcript import RATE_HZ


def sentence() -> Samples:
    with wave.open(str(Path(__file__).parent / "audio" / "sentence.wav")) as file:
        pcm = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    return (pcm / 32768).astype(np.float32)


@pytest.fixture
async def workers() -> AsyncIterator[Workers]:
    async with Workers(1, 10, meters()) as made:
        yield made


def children() -> list[int]:
    return [child.pid for child in psutil.Process().children() if sphinx_worker.__name__ in child.cmdline()]


async def test_nothing_is_started_before_it_is_needed_and_nothing_is_left_after():
    async with Workers(2, 10, meters()) as workers:
        sphinx = Sphinx(workers)
        assert (sphinx.size_bytes, children()) == (0, [])
        assert [(device.name, device.active) for device in sphinx.devices] == [("CPU", True)]
        await asyncio.gather(*(sphinx.hear(noise(0.5), Hearing()) for _ in range(2)))
        assert len(children()) == 2
        assert sphinx.size_bytes > 0
    assert children() == []


async def test_it_hears_english_with_times_and_the_same_whatever_it_heard_before(workers):
    sphinx = Sphinx(workers)
    first = await sphinx.hear(sentence(), Hearing(language="en"))
    words = first.hypothesis.words
    assert len(words) >= 3
    bounds = [bound for word in words for bound in (word.start, word.end)]
    assert bounds == sorted(bounds)
    assert bounds[-1] <= len(sentence())
    assert not any(mark in first.hypothesis.text for mark in "<[(")
    await sphinx.hear(noise(1), Hearing())
    assert await sphinx.hear(sentence(), Hearing()) == first
    assert (first.device, first.degradations, first.hypothesis.language) == ("CPU", (), "en")


@pytest.mark.parametrize("samples", [0, 1, 100, RATE_HZ])
async def test_silence_of_any_length_is_no_words(workers, samples):
    heard = await Sphinx(workers).hear(np.zeros(samples, np.float32), Hearing())
    assert heard.hypothesis.words == ()


async def test_hints_change_nothing_and_it_says_so_as_it_does_when_it_stands_in(workers):
    heard = await Sphinx(workers).standing_in().hear(noise(0.3), Hearing(hints=("Wednesday",)))
    assert heard.degradations == ("fallback_engine", "hints_ignored")


async def test_another_language_or_task_and_more_than_its_window_are_refused(workers):
    sphinx = Sphinx(workers)
    with pytest.raises(BadRequest, match="LANGUAGE_UNSUPPORTED"):
        await sphinx.hear(noise(1), Hearing(language="es"))
    with pytest.raises(BadRequest, match="TASK_UNSUPPORTED"):
        await sphinx.hear(noise(1), Hearing(task=Task.TRANSLATE))
    with pytest.raises(ValueError, match="at most"):
        await sphinx.hear(noise(31), Hearing())
    assert children() == []


async def test_cancelled_hearing_stops_and_the_next_is_as_ever(workers):
    sphinx = Sphinx(workers)
    first = await sphinx.hear(sentence(), Hearing())
    task = asyncio.create_task(sphinx.hear(np.tile(sentence(), 8), Hearing()))
    await until(lambda: any(device.pipelines for device in sphinx.devices))
    await asyncio.wait([task], timeout=0.1)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert await sphinx.hear(sentence(), Hearing()) == first


async def test_a_process_that_is_killed_is_replaced(workers):
    sphinx = Sphinx(workers)
    first = await sphinx.hear(sentence(), Hearing())
    (before,) = children()
    os.kill(before, signal.SIGKILL)
    assert await sphinx.hear(sentence(), Hearing()) == first
    assert children() != [before]


async def test_who_asks_first_and_goes_away_does_not_take_the_start_with_him(workers):
    sphinx = Sphinx(workers)
    leaving = asyncio.create_task(sphinx.hear(noise(0.3), Hearing()))
    staying = asyncio.create_task(sphinx.hear(noise(0.3), Hearing()))
    await until(lambda: workers._starting is not None)
    leaving.cancel()
    async with asyncio.timeout(BOUND_S):
        heard = await staying
    assert leaving.cancelled()
    assert heard.device == "CPU"
    assert len(children()) == 1


async def test_an_engine_that_does_not_start_is_unavailable_and_tried_again():
    starts = []

    def start() -> SphinxPipeline:
        starts.append(True)
        if len(starts) == 1:
            raise OSError("no process left")
        return SphinxPipeline()

    async with Workers(1, 10, meters(), start) as workers:
        with pytest.raises(Unavailable, match=f"LOADING: {NAME} could not be started"):
            await Sphinx(workers).hear(noise(0.3), Hearing())
        assert (await Sphinx(workers).hear(noise(0.3), Hearing())).device == "CPU"
