"""Whisper on OpenVINO GenAI."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import openvino
import openvino_genai

from trunkline_speech import words
from trunkline_speech.facts import Facts
from trunkline_speech.fit import fits, unfit
from trunkline_speech.pipelines import CannotOpen, Pipeline, Pool
from trunkline_speech.recogniser import Device, Heard, Hearing, Samples, Task
from trunkline_speech.transcript import RATE_HZ, Hypothesis, Word
from trunkline_speech.words import Piece

DEVICE_LOST: Final = "device_lost"
HINTS_CUT: Final = "hints_cut"
HINTS_IGNORED: Final = "hints_ignored"
WORD_TIMES_ESTIMATED: Final = "word_times_estimated"
LEAST: Final = RATE_HZ // 10
"""Samples. Shorter audio is filled up with silence; a pipeline refuses 200 and fewer."""
_HINTS_SHARE: Final = 3
"""One in so many of the decoder's places is for hints; beyond them, the pipeline may end the process."""
_START: Final = 5
"""Places of the tokens before a transcript: what comes before, start, language, task, no time stamps."""
_WITHOUT_HINTS: Final = "NPU"
"""Its pipeline refuses prompts."""


@dataclass(frozen=True, slots=True)
class Piecework:
    """A piece of speech for a pipeline."""

    samples: Samples
    language: str = ""
    task: Task = Task.TRANSCRIBE
    hints: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Transcript:
    """What a pipeline made of it."""

    words: tuple[Word, ...]
    language: str
    degradations: tuple[str, ...]


SILENCE: Final = Piecework(np.zeros(RATE_HZ, np.float32))
"""What every pipeline can hear."""


class OpenVinoPipeline:
    """A WhisperPipeline on a device.

    It transcribes without time stamps: those of words come from the decoder's attention, which takes a fifth
    longer than none, cannot end the process over stamps in disorder, and leaves the streamer to cancel by.

    Args:
        directory: the model's files.
        device: such as NPU, GPU or CPU.
        facts: what is known of it.
        threads: of a CPU; 0 leaves it to OpenVINO.

    Raises:
        CannotOpen: this machine has no such device.
        RuntimeError: OpenVINO refuses the files or the device.
    """

    def __init__(self, directory: Path, device: str, facts: Facts, threads: int) -> None:
        if device.partition(".")[0] not in _devices():
            raise CannotOpen("this machine has none that OpenVINO knows")
        options: dict[str, Any] = {"word_timestamps": True} if facts.word_times else {}
        if device == "CPU" and threads:
            options["INFERENCE_NUM_THREADS"] = threads
        self._facts = facts
        self._hints = device.partition(".")[0] != _WITHOUT_HINTS
        self._pipeline: Any = openvino_genai.WhisperPipeline(directory, device, **options)
        self._tokenizer: Any = self._pipeline.get_tokenizer()
        config = self._pipeline.get_generation_config()
        if facts.multilingual:
            # Detection chooses among these, and an untrained language's token must not be chosen.
            config.lang_to_id = {
                token: place
                for token, place in config.lang_to_id.items()
                if token.strip("<|>") in facts.languages
            }
        self._length = min(config.max_length, facts.places - _START)
        self._pipeline.set_generation_config(config)

    def run(self, work: Piecework, stopped: Callable[[], bool]) -> Transcript:
        """See `Pipeline.run`."""
        samples = work.samples
        if len(samples) < LEAST:
            samples = np.pad(samples, (0, LEAST - len(samples)))
        asked, degradations = self._asked(work)
        streaming = openvino_genai.StreamingStatus

        def stream(_: str) -> Any:
            return streaming.CANCEL if stopped() else streaming.RUNNING

        result = self._pipeline.generate(samples, streamer=stream, **asked)
        if self._facts.word_times:
            pieces = [Piece(word.word, word.start_ts, word.end_ts) for word in result.words or ()]
            heard = words.timed(pieces, len(work.samples))
        else:
            heard = words.estimated(result.texts[0], work.samples)
            degradations += (WORD_TIMES_ESTIMATED,)
        language = work.language or result.language.strip("<|>") or self._facts.languages[0]
        return Transcript(heard, language, degradations)

    def close(self) -> None:
        """See `Pipeline.close`: the memory goes with the last reference."""
        self._pipeline = self._tokenizer = None

    def _asked(self, work: Piecework) -> tuple[dict[str, Any], tuple[str, ...]]:
        """What is asked of generate, and what of the work is not."""
        asked: dict[str, Any] = {"max_new_tokens": self._length}
        if self._facts.multilingual:
            asked["task"] = work.task.value
            if work.language:
                asked["language"] = f"<|{work.language}|>"
        if not work.hints:
            return asked, ()
        if not self._hints:
            return asked, (HINTS_IGNORED,)
        room = self._facts.places // _HINTS_SHARE
        hints, cut = _cut(work.hints, room, [self._tokens(hint) for hint in work.hints])
        if hints:
            asked["hotwords"] = " ".join(hints)
            asked["max_new_tokens"] = min(self._length, self._facts.places - _START - room)
        return asked, (HINTS_CUT,) if cut else ()

    def _tokens(self, text: str) -> int:
        return int(self._tokenizer.encode(f" {text}", add_special_tokens=False).input_ids.shape[1])


class WhisperModel:
    """A version of a Whisper model that hears. See `Recogniser`.

    Args:
        name: `models/{model}/versions/{version}`.
        digest: of the version.
        facts: what its check found.
        pool: its pipelines.
        size_bytes: what it takes of memory.
    """

    engine = "openvino"

    def __init__(
        self, name: str, digest: str, facts: Facts, pool: Pool[Piecework, Transcript], size_bytes: int
    ) -> None:
        self.name = name
        self.digest = digest
        self.size_bytes = size_bytes
        self.languages = facts.languages
        self.tasks = facts.tasks
        self.window = facts.window
        self.word_times = facts.word_times
        self._pool = pool

    @property
    def devices(self) -> tuple[Device, ...]:
        """See `Recogniser.devices`."""
        return self._pool.chain.devices

    async def hear(self, samples: Samples, hearing: Hearing) -> Heard:
        """See `Recogniser.hear`.

        Raises:
            ValueError: the samples are not float32 in one dimension, not finite, or longer than the window.
        """
        if not fits(self, hearing.language, hearing.task):
            raise unfit(hearing.language, hearing.task, [self])
        _check(samples, self.window)
        work = Piecework(samples, hearing.language, hearing.task, hearing.hints)
        ran = await self._pool.run(work, hearing.due)
        degradations = ran.result.degradations
        if ran.device_lost:
            degradations += (DEVICE_LOST,)
        hypothesis = Hypothesis(ran.result.words, ran.result.language, timed=self.word_times)
        return Heard(hypothesis, ran.device, degradations)

    def warm(self) -> None:
        """Hears a second of silence and one of noise on every pipeline."""
        noise = np.random.default_rng(0).normal(0, 0.05, RATE_HZ).astype(np.float32)
        self._pool.chain.warm([SILENCE, Piecework(noise)])

    def close(self) -> None:
        """Gives its memory back. Nobody uses it any more."""
        self._pool.close()


def opener(directory: Path, facts: Facts, threads: int) -> Callable[[str], Pipeline[Piecework, Transcript]]:
    """What opens a pipeline of a model on a device."""
    return lambda device: OpenVinoPipeline(directory, device, facts, threads)


def _check(samples: Samples, window: int) -> None:
    # OpenVINO takes other types without a word, and hears noise in them.
    if samples.dtype != np.float32 or samples.ndim != 1 or len(samples) > window:
        raise ValueError(f"expected at most {window} float32, not {samples.shape} of {samples.dtype}")
    if not np.isfinite(samples).all():
        raise ValueError("samples are not finite")


def _cut(hints: Sequence[str], places: int, count: Sequence[int]) -> tuple[tuple[str, ...], bool]:
    """The first hints that fit, and whether some were left out.

    Args:
        hints: the most likely first.
        places: tokens there is room for.
        count: tokens of each hint.
    """
    fitting = []
    for hint, tokens in zip(hints, count, strict=True):
        if tokens > places:
            continue
        places -= tokens
        fitting.append(hint)
    return tuple(fitting), len(fitting) < len(hints)


@cache
def _devices() -> frozenset[str]:
    """What OpenVINO knows on this machine, several of one kind as one."""
    return frozenset(name.partition(".")[0] for name in openvino.Core().available_devices)
