"""A live session that outlives its stream: what was sent and may be asked for again is kept, and goes again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc.aio
from google.protobuf.duration_pb2 import Duration

from trunkline.speech.v1 import speech_pb2 as pb
from trunkline_hop.errors import Cancelled, Fault, Overloaded, Unavailable
from trunkline_local.door import StreamLost, fault_of
from trunkline_local.transcribe_audio import RATE_HZ, SAMPLE_BYTES

PATIENCE_S = 55.0
"""How long a session is taken up again and again: the server keeps it for a minute."""
ATTEMPTS = 5
"""To begin a session, where the transport lost why it did not begin."""
FIRST_WAIT_S, LONGEST_WAIT_S = 0.05, 2.0
PIECE_BYTES = 64 * 1024
"""Most audio that one message carries."""
AHEAD_S = 60.0
"""Audio that is decoded before it can be sent."""


class SessionLost(RuntimeError):
    """The stream broke, and the session could not be taken up again. The message says what is complete."""


class Tape:
    """Audio from the first sample that may still be asked for. Positions are samples of the session."""

    def __init__(self, ahead_s: float = AHEAD_S) -> None:
        self.start = 0
        """The first sample that is kept."""
        self.error: Exception | None = None
        """What ended the recording too early."""
        self._kept = bytearray()
        self._ended = False
        self._place = 0
        self._ahead = round(ahead_s * RATE_HZ)
        self._changed = asyncio.Event()

    @property
    def end(self) -> int:
        """The sample after the last one that was recorded."""
        return self.start + len(self._kept) // SAMPLE_BYTES

    async def record(self, pieces: AsyncIterator[bytes]) -> None:
        """Takes everything in, not much faster than it is sent."""
        try:
            async for piece in pieces:
                await self._until(lambda: self.end - self._place < self._ahead)
                self._kept += piece
                self.wake()
        except Exception as error:
            self.error = error  # what came before it is heard to its end first
        finally:
            self._ended = True
            self.wake()

    def rewind(self, position: int) -> None:
        """The sample that is sent next.

        Raises:
            SessionLost: it is not kept any more.
        """
        if not self.start <= position <= self.end:
            raise SessionLost(f"the server asks for audio from {position / RATE_HZ:.2f} s, which is gone")
        self._place = position

    async def read(self, going: Callable[[], bool]) -> bytes:
        """What comes next; nothing at the end, or when the stream does not go on."""
        await self._until(lambda: self._place < self.end or self._ended or not going())
        first = (self._place - self.start) * SAMPLE_BYTES
        piece = bytes(self._kept[first : first + PIECE_BYTES]) if going() else b""
        self._place += len(piece) // SAMPLE_BYTES
        self.wake()
        return piece

    def forget(self, before: int) -> None:
        """What nobody asks for again. Only what was sent can be that."""
        count = min(before, self._place) - self.start
        if count > 0:
            del self._kept[: count * SAMPLE_BYTES]
            self.start += count

    def wake(self) -> None:
        """Lets those who wait look again."""
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            await self._changed.wait()


class Session:
    """One session over as many streams as it takes.

    Args:
        stub: of the speech service, over such a channel as `open_channel` gives.
        config: what the session is told. Its format is LINEAR16 of 16 kHz.
        heard: gets every event once, in order.
        interrupted: is told why the session has to be taken up again.
        sleep: waits for seconds.
        now: seconds that only go forward.
    """

    def __init__(
        self,
        stub: Any,
        config: pb.StreamingConfig,
        heard: Callable[[pb.StreamingRecognizeResponse], None],
        interrupted: Callable[[str], None],
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        now: Callable[[], float] | None = None,
    ) -> None:
        self._stub = stub
        self._config = config
        self._heard = heard
        self._interrupted = interrupted
        self._sleep = sleep
        self._now = now or asyncio.get_running_loop().time
        self._tape = Tape()
        self._token = ""
        self._last = 0
        self._position_s = 0.0
        self._stream_number = 0
        self._all_sent = False
        self._answered = False

    async def run(self, pieces: AsyncIterator[bytes]) -> None:
        """Sends LINEAR16 of 16 kHz, and is done when the server said all it has to say on it.

        Raises:
            SessionLost: it broke, and was not taken up again within a minute.
            Fault: the server refused it.
            Exception: whatever `pieces` raised, once what came before was heard.
        """
        recording = asyncio.create_task(self._tape.record(pieces))
        try:
            await self._converse()
        finally:
            recording.cancel()
            await asyncio.gather(recording, return_exceptions=True)
        if self._tape.error is not None:
            raise self._tape.error

    async def _converse(self) -> None:
        first = pb.StreamingRecognizeRequest(config=self._config)
        broken_at, wait_s, attempts = self._now(), FIRST_WAIT_S, 0
        while True:
            self._answered = False
            attempts += 1
            try:
                if await self._stream(first):
                    return
                reason = "the server is about to go"
            except (Unavailable, Overloaded, Cancelled) as fault:
                if not self._token:  # there is no session yet
                    if isinstance(fault, StreamLost) and attempts < ATTEMPTS:
                        continue
                    raise
                reason = fault.message
            except Fault as fault:
                if not self._token or self._answered:
                    raise
                raise SessionLost(self._lost(fault.message)) from fault
            if self._answered:
                broken_at, wait_s = self._now(), FIRST_WAIT_S
                self._interrupted(reason)
            elif self._now() - broken_at > PATIENCE_S:
                raise SessionLost(self._lost(reason))
            await self._sleep(wait_s)
            wait_s = min(2 * wait_s, LONGEST_WAIT_S)
            resume = pb.Resume(resume_token=self._token, last_sequence=self._last)
            first = pb.StreamingRecognizeRequest(resume=resume)

    async def _stream(self, first: pb.StreamingRecognizeRequest) -> bool:
        """One stream; whether it was the last."""
        self._stream_number += 1
        number = self._stream_number
        self._all_sent = drained = False
        asked_for: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def going() -> bool:
            return self._stream_number == number

        async def requests() -> AsyncIterator[pb.StreamingRecognizeRequest]:
            yield first
            await asked_for
            while piece := await self._tape.read(going):
                yield pb.StreamingRecognizeRequest(audio=piece)
            self._all_sent = going()

        call = self._stub.StreamingRecognize(requests())
        try:
            async for event in call:
                kind = event.WhichOneof("event")
                if kind == "started":
                    self._token = event.started.resume_token
                    self._tape.rewind(samples(event.started.audio_start))
                    self._answered = True
                    if not asked_for.done():
                        asked_for.set_result(None)
                elif kind == "draining":
                    self._token = event.draining.resume_token
                    drained = True
                elif event.sequence <= self._last:
                    continue  # heard on a stream before this one
                elif kind != "configured":
                    # Neither `started` nor `configured` counts: what is said again follows them, under the
                    # numbers it had.
                    self._last = event.sequence
                self._tape.forget(samples(event.audio_needed_from))
                self._position_s = max(self._position_s, seconds(event.audio_needed_from))
                self._heard(event)
        except grpc.aio.AioRpcError as error:
            raise fault_of(error) from error
        finally:
            self._stream_number += 1
            asked_for.cancel()
            self._tape.wake()
            call.cancel()
        return self._all_sent and not drained

    def _lost(self, why: str) -> str:
        return (
            f"the session could not go on: {why}. The transcript is complete up to {self._position_s:.1f} s"
        )


def seconds(duration: Duration) -> float:
    """Of a duration, as a number."""
    return duration.seconds + duration.nanos / 1e9


def samples(duration: Duration) -> int:
    """Of a duration, at 16 kHz."""
    return round(seconds(duration) * RATE_HZ)
