"""Containers and codecs, decoded by libav as their bytes come in.

libav pulls: its demuxer asks for bytes when it wants some. Here they are pushed, so the demuxer has a thread of its
own, which runs only while the owner of the decoder waits for it: as a coroutine would. That keeps the two in step,
needs no queue of decoded audio, and makes what comes out depend on the bytes alone.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator
from fractions import Fraction
from itertools import chain
from typing import Any, Final

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.error import FFmpegError, InvalidDataError

from trunkline_speech.decode import Block, Gap, block_of, check_rate, undecodable, unknown_format
from trunkline_speech.events import DropReason
from trunkline_speech.ogg import Pages
from trunkline_speech.steps import Closed, Said, Steps

BUFFER: Final = 4_096
CODECS: Final = frozenset({"flac", "mp3", "mp3float", "opus", "libopus", "vorbis"})
"""And `pcm_*`. Everything else that libav could open is no business of a recogniser's callers."""
LONGEST_GAP_S: Final = 10.0
"""A jump of the timestamps beyond this is not believed."""
FAILURES: Final = 8
"""Reads in a row that fail before the rest is given up."""


class LibavDecoder:
    """Decodes one container.

    Args:
        container: libav's name for it; nothing is guessed, so that no other of its demuxers is ever reached.
    """

    def __init__(self, container: str) -> None:
        self._steps = Steps(Pages() if container == "ogg" else None)
        self._demuxer = _Demuxer(container, self._steps)
        self._thread = threading.Thread(target=self._demuxer.run, name=f"decode-{container}", daemon=True)
        self._thread.start()
        self._ended = False
        self._told = False
        # Whoever loses a decoder without closing it does not lose a thread with it.
        self._finalizer = weakref.finalize(self, self._steps.close)

    @property
    def promised_s(self) -> float | None:
        return self._demuxer.promised_s

    def feed(self, data: bytes) -> Iterator[Block]:
        if self._ended and data and not self._told and self._demuxer.rate_hz:
            self._told = True
            yield self._demuxer.unknown_loss()
        if not self._ended:
            self._steps.feed(data)
            yield from self._blocks()

    def finish(self) -> Iterator[Block]:
        self._steps.finish()
        yield from self._blocks()

    def close(self) -> None:
        self._steps.close()
        self._thread.join()

    def _blocks(self) -> Iterator[Block]:
        while not self._ended:
            said = self._steps.resume()
            if isinstance(said, Block):
                yield said
            elif said is Said.HUNGRY:
                return
            else:
                self._ended = True
                self._thread.join()
                if isinstance(said, Exception):
                    raise said


class _Demuxer:
    """What the thread does. It knows the steps and not the decoder, which may be lost meanwhile."""

    def __init__(self, container: str, steps: Steps) -> None:
        self.promised_s: float | None = None
        self.rate_hz = 0
        """Of what was decoded last; 0 before anything was."""
        self._container = container
        self._steps = steps
        self._next: Fraction | None = None
        """When the next frame is expected, in the container's time."""
        self._packet_bytes = 0
        self._packets = 0
        self._page: int | None = None
        """Where the page of the last packet begins."""
        self._produced = 0
        self._granule_base: int | None = None

    def run(self) -> None:
        outcome: Said | Exception = Said.END
        try:
            self._steps.wait()
            self._decode()
        except Closed:
            outcome = Said.END
        except FFmpegError:
            outcome = undecodable("it is damaged, or ends inside its header; send the recording whole")
        except Exception as error:
            outcome = error
        self._steps.end(outcome)

    def unknown_loss(self) -> Block:
        """Something is missing, and nobody knows how much."""
        return Block(np.zeros(0, np.float32), self.rate_hz, (Gap(0, 0, DropReason.UNDECODABLE),))

    def _decode(self) -> None:
        options = {"probesize": "32"}  # The header says all; more would be read ahead of the first sample.
        opened: Any = av.open(
            self._steps,
            format=self._container,
            buffer_size=BUFFER,
            options=options,
            metadata_errors="replace",
        )
        with opened as container:
            stream = next(iter(container.streams.audio), None)
            if stream is None:
                raise undecodable("there is no audio in it; send a file with an audio stream")
            codec = stream.codec_context.name if stream.codec_context else "none"
            if codec not in CODECS and not codec.startswith("pcm_"):
                raise unknown_format("its codec is not read here; send Opus, Vorbis, FLAC, MP3 or PCM")
            stream.codec_context.thread_count = 1
            self.promised_s = container.duration / av.time_base if container.duration else None
            for packet in self._demuxed(container, stream):
                for block in chain(self._missing_pages(packet), self._decoded(packet)):
                    self._steps.say(block)
            if self._steps.pages is not None and self._steps.pages.cut_off and self.rate_hz:
                self._steps.say(self.unknown_loss())
        if self._steps.fruitless:
            raise undecodable("16 MiB of it hold no sample; send audio")
        if not self.rate_hz:
            raise undecodable("there are no samples in it; send the recording whole")

    def _demuxed(self, container: Any, stream: Any) -> Iterator[Any]:
        failures = 0
        while True:
            try:
                for packet in container.demux(stream):
                    failures = 0
                    yield packet
            except InvalidDataError:
                failures += 1
                if failures == FAILURES:
                    raise
            else:
                return

    def _decoded(self, packet: Any) -> Iterator[Block]:
        try:
            frames: list[AudioFrame] = packet.decode()
        except InvalidDataError:
            if packet.size:
                yield self._spoilt(packet)
            return
        self._packet_bytes += packet.size
        self._packets += 1
        for frame in frames:
            check_rate(frame.sample_rate)
            self.rate_hz = frame.sample_rate
            yield from self._missed(frame)
            values = frame.to_ndarray()
            channels = len(frame.layout.channels)
            yield block_of(values.T if frame.format.is_planar else values.reshape(-1, channels), self.rate_hz)
            self._advance(frame.samples)

    def _spoilt(self, packet: Any) -> Block:
        """Silence in place of a packet that cannot be decoded.

        An MP3 whose frames were overwritten is cut at the next one that looks whole, so such a packet is as long as
        all that it covers: by its size, with the others' as the measure.
        """
        rate_hz = self.rate_hz or packet.stream.codec_context.sample_rate
        check_rate(rate_hz)
        count = max(1, round(packet.size * self._packets / self._packet_bytes)) if self._packets else 1
        lost_s = count * (packet.duration or 0) * packet.time_base if packet.time_base else Fraction(0)
        if lost_s > LONGEST_GAP_S:
            return self.unknown_loss()
        return self._silence(round(lost_s * rate_hz), rate_hz)

    def _missed(self, frame: AudioFrame) -> Iterator[Block]:
        """Silence for what should have been between the last frame and this one, by their timestamps."""
        if self._steps.pages is not None or frame.pts is None or frame.time_base is None:
            return
        at = frame.pts * frame.time_base
        if self._next is None:
            self._next = at
            return
        # A clock of milliseconds, as in WebM, rounds, and is often not the sound card's.
        tolerance = Fraction(1, 1000 if frame.time_base.denominator >= self.rate_hz else 10)
        missing = at - self._next
        if missing > LONGEST_GAP_S:
            self._next = at
            yield self.unknown_loss()
        elif missing > tolerance:
            yield self._silence(round(missing * self.rate_hz), self.rate_hz)
        elif missing < -tolerance:
            self._next = at

    def _missing_pages(self, packet: Any) -> Iterator[Block]:
        """Silence for pages that are lost, known once the page behind them is over: it is heard that much early."""
        pages = self._steps.pages
        if pages is None or not self.rate_hz or packet.pos == self._page:
            self._page = packet.pos
            return
        granule = None if self._page is None else pages.granule(self._page)
        self._page = packet.pos
        if granule is None:
            return
        if self._granule_base is None:
            self._granule_base = granule - self._produced
        missing = granule - self._granule_base - self._produced
        if missing < -self.rate_hz:  # The next link of a chained stream, which begins at zero.
            self._granule_base = granule - self._produced
        elif missing > LONGEST_GAP_S * self.rate_hz:
            self._granule_base = granule - self._produced
            yield self.unknown_loss()
        elif missing > self.rate_hz // 100:
            yield self._silence(missing, self.rate_hz)

    def _silence(self, samples: int, rate_hz: int) -> Block:
        self._advance(samples)
        return Block(np.zeros(samples, np.float32), rate_hz, (Gap(0, samples, DropReason.UNDECODABLE),))

    def _advance(self, samples: int) -> None:
        self._produced += samples
        if self._next is not None and self.rate_hz:
            self._next += Fraction(samples, self.rate_hz)
