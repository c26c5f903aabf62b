"""What the service asks of whatever hears words."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Protocol

import numpy as np
import numpy.typing as npt

from trunkline_speech.transcript import Hypothesis

Samples = npt.NDArray[np.float32]
"""[N] mono at RATE_HZ, in [-1, 1]."""


class Task(Enum):
    """What is done with the speech."""

    TRANSCRIBE = "transcribe"
    TRANSLATE = "translate"
    """Into English."""


@dataclass(frozen=True, slots=True)
class Hearing:
    """How to hear one piece of audio."""

    language: str = ""
    """ISO 639-1; empty to detect it."""
    task: Task = Task.TRANSCRIBE
    hints: tuple[str, ...] = ()
    """Likely words and phrases, the most likely first."""
    due: float = float("inf")
    """When the answer is wanted, on the event loop's clock: waiting work runs in this order."""


@dataclass(frozen=True, slots=True)
class Heard:
    """An answer, and what made it."""

    hypothesis: Hypothesis
    device: str
    """Such as NPU, GPU or CPU."""
    degradations: tuple[str, ...] = ()
    """Such as `device_lost`, `hints_cut`, `word_times_estimated`."""


@dataclass(frozen=True, slots=True)
class Device:
    """A device that a recogniser runs on, or ran on."""

    name: str
    active: bool
    error: str = ""
    """Why it is not used; empty when it was not needed."""
    pipelines: int = 0


class Recogniser(Protocol):
    """Hears words in short pieces of audio."""

    @property
    def name(self) -> str:
        """`models/{model}/versions/{version}`, or `engines/{engine}`."""
        ...

    @property
    def digest(self) -> str:
        """Of the version; empty for an engine."""
        ...

    @property
    def engine(self) -> str:
        """`openvino` or `pocketsphinx`."""
        ...

    @property
    def languages(self) -> tuple[str, ...]:
        """ISO 639-1, those it hears."""
        ...

    @property
    def tasks(self) -> tuple[Task, ...]:
        """What it does."""
        ...

    @property
    def window(self) -> int:
        """Most samples it hears at once."""
        ...

    @property
    def word_times(self) -> bool:
        """False when it estimates the times of words."""
        ...

    @property
    def size_bytes(self) -> int:
        """What it takes of memory."""
        ...

    @property
    def devices(self) -> tuple[Device, ...]:
        """In the order in which they are tried."""
        ...

    async def hear(self, samples: Samples, hearing: Hearing) -> Heard:
        """What is said in `samples`, word times counted from their first one.

        Cancelling it stops the work within two steps of the engine.

        Raises:
            BadRequest: the language or the task is not this recogniser's.
            Overloaded: SHED, too many wait already. Carries RetryInfo.
            TooLate: DEADLINE_UNMEETABLE or EXPIRED_IN_QUEUE.
            Unavailable: DEVICE_LOST, no device is left.
        """
        ...
