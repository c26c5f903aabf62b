"""The process in which pocketsphinx works: `python -m trunkline_speech.sphinx_worker DESCRIPTOR`.

pocketsphinx holds the interpreter's lock while it searches, for seconds. The descriptor is a socket's.
"""

from __future__ import annotations

import re
import signal
import sys
import tempfile
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final, TypeAlias

import pocketsphinx

STOP: Final = b""
"""What the worker is sent to give up what it hears."""
RATE_HZ: Final = 16_000
_FRAME: Final = RATE_HZ // 100
_STEP_BYTES: Final = 2 * RATE_HZ // 2
"""Half a second between two looks at whether to stop."""
_LEAST_BYTES: Final = 2 * RATE_HZ // 5
_VARIANT: Final = re.compile(r"\(\d+\)$")


Found: TypeAlias = tuple[str, int, int]
"""A word, the sample at which it begins, and the one after its last."""


def work(connection: Connection) -> None:
    """Answers audio, signed 16-bit little-endian at RATE_HZ, with a list of Found, until the other end is closed."""
    # Who serves decides when to stop, and closes the connection then.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    decoder = Decoder()
    try:
        while True:
            if pcm := connection.recv_bytes():
                connection.send(decoder.hear(pcm, connection))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return


class Decoder:
    """pocketsphinx with the English model that it brings.

    What it hears of a piece does not depend on what it heard before: the feature extractor, whose mean drifts
    otherwise, begins anew each time (0.1 ms; a fresh decoder takes 0.4 s). The mean of the piece itself is found
    first, by a decoder that knows one word (some percent of the work), so that the search can go step by step,
    and be stopped, and hear as well as if it were given the whole piece at once.
    """

    def __init__(self) -> None:
        pocketsphinx.set_loglevel("FATAL")
        self._search: Any = pocketsphinx.Decoder(samprate=RATE_HZ)
        with tempfile.TemporaryDirectory() as place:
            dictionary = Path(place) / "one.dict"
            dictionary.write_text("yes Y EH S\n")
            self._mean: Any = pocketsphinx.Decoder(
                samprate=RATE_HZ, lm=None, dict=str(dictionary), keyphrase="yes"
            )

    def hear(self, pcm: bytes, connection: Connection) -> list[Found]:
        """Words in audio; what there is so far once STOP arrives.

        Silences and noises (`<sil>`, `[NOISE]`) are no words, and `(2)` after one is a pronunciation.
        """
        padded = pcm.ljust(_LEAST_BYTES, b"\0")
        self._mean.reinit_feat()
        self._mean.start_utt()
        self._mean.process_raw(padded, no_search=False, full_utt=True)
        self._mean.end_utt()
        self._search.reinit_feat()
        self._search.set_cmn(self._mean.get_cmn(False))
        self._search.start_utt()
        for begin in range(0, len(padded), _STEP_BYTES):
            if connection.poll() and connection.recv_bytes() == STOP:
                break
            self._search.process_raw(padded[begin : begin + _STEP_BYTES], no_search=False, full_utt=False)
        self._search.end_utt()
        if self._search.hyp() is None:
            return []
        samples = len(pcm) // 2
        return [
            (
                _VARIANT.sub("", segment.word),
                min(segment.start_frame * _FRAME, samples),
                min((segment.end_frame + 1) * _FRAME, samples),
            )
            for segment in self._search.seg()
            if segment.word[0] not in "<["
        ]


if __name__ == "__main__":
    work(Connection(int(sys.argv[1])))
