"""One pass of the bare pipeline: WhisperPipeline.generate in a loop, in a process of its own, on one core."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from bench.speech_material import RATE_HZ, Sound

ROUNDS = 3


@dataclass(frozen=True, slots=True)
class Bare:
    """What the pipeline takes by itself."""

    p50_ms: float
    p95_ms: float
    per_second: float
    """Utterances."""
    real_time: float
    """Time of work over time of audio."""
    load_s: float


def bare(artifact: Path, core: int, sounds: Sequence[Sound], word_times: bool = False) -> Bare:
    """Hears every sound ROUNDS times, alone on a core."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_bare, artifact, core, sounds, word_times).result()


def _bare(artifact: Path, core: int, sounds: Sequence[Sound], word_times: bool) -> Bare:
    os.sched_setaffinity(0, {core})
    import openvino_genai

    options: dict[str, Any] = {"word_timestamps": True} if word_times else {}
    began = time.perf_counter()
    pipeline = openvino_genai.WhisperPipeline(artifact, "CPU", INFERENCE_NUM_THREADS=1, **options)
    load_s = time.perf_counter() - began
    pipeline.generate(sounds[0], task="transcribe", **options)
    took = []
    for sound in (sound for _ in range(ROUNDS) for sound in sounds):
        began = time.perf_counter()
        pipeline.generate(sound, task="transcribe", **options)
        took.append(time.perf_counter() - began)
    return Bare(
        statistics.median(took) * 1e3,
        statistics.quantiles(took, n=20)[-1] * 1e3,
        len(took) / sum(took),
        sum(took) / (ROUNDS * sum(map(len, sounds)) / RATE_HZ),
        load_s,
    )
