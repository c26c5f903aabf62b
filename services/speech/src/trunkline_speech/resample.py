"""Any rate to 16 kHz, piece by piece."""

from __future__ import annotations

import numpy as np
import soxr

from trunkline_speech.recogniser import Samples
from trunkline_speech.transcript import RATE_HZ


class Resampler:
    """Resamples a stream (soxr, high quality).

    The pieces add up to exactly what one call gives, however they are cut: round(n * 16000 / rate) samples within
    one, the first of them at the time of the first one that came in. Until `finish` it holds back what its filter
    needs to see beyond.
    """

    def __init__(self, rate_hz: int) -> None:
        self._stream = (
            None if rate_hz == RATE_HZ else soxr.ResampleStream(rate_hz, RATE_HZ, 1, "float32", "HQ")
        )

    def feed(self, samples: Samples) -> Samples:
        """What the next samples complete, at 16 kHz."""
        return samples if self._stream is None else self._run(samples, last=False)

    def finish(self) -> Samples:
        """What is left."""
        nothing = np.zeros(0, np.float32)
        return nothing if self._stream is None else self._run(nothing, last=True)

    def _run(self, samples: Samples, *, last: bool) -> Samples:
        assert self._stream is not None
        done: Samples = self._stream.resample_chunk(samples, last=last)
        return done
