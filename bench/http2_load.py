"""A gRPC load generator that costs a tenth of a server: HTTP/2 frames made once, sent as bytes.

A stock client in Python takes as much CPU a call as the server it measures, so that the client's speed would
be reported. This one knows just enough HTTP/2 (RFC 9113) to repeat unary calls of one method: it counts a call
as done only when the answer it expects has come and the stream has ended.
"""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RST, _SETTINGS, _PING, _GOAWAY, _WINDOW = 0, 1, 3, 4, 6, 7, 8
_END_STREAM, _END_HEADERS, _ACK = 1, 4, 1
_WINDOW_STEP = 1 << 20


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes((kind, flags)) + struct.pack(">I", stream) + payload


def _message(value: bytes) -> bytes:
    return b"\x00" + struct.pack(">I", len(value)) + value


def _text(value: str) -> bytes:
    return bytes((len(value),)) + value.encode()


def _headers(path: str) -> bytes:
    """An HPACK block without state: indices of the static table, and literals that are not indexed."""
    return b"".join(
        (
            b"\x83\x86",  # :method POST, :scheme http
            b"\x04" + _text(path),
            b"\x01" + _text("localhost"),
            b"\x0f\x10" + _text("application/grpc"),
            b"\x00" + _text("te") + _text("trailers"),
            b"\x00" + _text("grpc-timeout") + _text("5S"),
        )
    )


@dataclass(slots=True)
class Result:
    """What a run measured."""

    calls: int
    seconds: float
    latencies_s: list[float]

    @property
    def rate(self) -> float:
        """Calls a second."""
        return self.calls / self.seconds


class _Connection(asyncio.Protocol):
    """One connection with a fixed number of calls in flight."""

    def __init__(self, path: str, calls: Sequence[tuple[bytes, bytes]], in_flight: int) -> None:
        self._block = _headers(path)
        self._calls = cycle([(_message(request), _message(answer)) for request, answer in calls])
        self._expected: dict[int, bytes] = {}
        self._in_flight = in_flight
        self._stream = 1
        self._buffer = b""
        self._started: dict[int, float] = {}
        self._answered: set[int] = set()
        self._received = 0
        self.latencies_s: list[float] = []
        self.going = True
        self.failed: str | None = None
        self.idle = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        settings = struct.pack(">HI", 4, _WINDOW_STEP)  # SETTINGS_INITIAL_WINDOW_SIZE
        self._send(
            _PREFACE
            + _frame(_SETTINGS, 0, 0, settings)
            + _frame(_WINDOW, 0, 0, struct.pack(">I", _WINDOW_STEP))
        )
        self._send(b"".join(self._call() for _ in range(self._in_flight)))

    def _send(self, data: bytes) -> None:
        self._transport.write(data)  # type: ignore[attr-defined]

    def _call(self) -> bytes:
        stream = self._stream
        self._stream += 2
        request, self._expected[stream] = next(self._calls)
        self._started[stream] = time.perf_counter()
        return _frame(_HEADERS, _END_HEADERS, stream, self._block) + _frame(
            _DATA, _END_STREAM, stream, request
        )

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer + data
        at, out = 0, []
        while len(buffer) - at >= 9:
            size = int.from_bytes(buffer[at : at + 3], "big")
            if len(buffer) - at - 9 < size:
                break
            kind, flags = buffer[at + 3], buffer[at + 4]
            stream = int.from_bytes(buffer[at + 5 : at + 9], "big")
            payload = buffer[at + 9 : at + 9 + size]
            at += 9 + size
            if kind == _DATA:
                self._received += size
                # An answer may come in several frames.
                rest = self._expected[stream].removeprefix(payload)
                if len(rest) < len(self._expected[stream]):
                    self._expected[stream] = rest
                if not rest:
                    self._answered.add(stream)
            elif kind == _PING and not flags & _ACK:
                out.append(_frame(_PING, _ACK, 0, payload))
            elif kind == _SETTINGS and not flags & _ACK:
                out.append(_frame(_SETTINGS, _ACK, 0, b""))
            elif kind in (_RST, _GOAWAY):
                self._fail(f"frame {kind} {payload!r}")
            if kind in (_DATA, _HEADERS) and flags & _END_STREAM:
                self.latencies_s.append(time.perf_counter() - self._started.pop(stream))
                if stream not in self._answered:
                    self._fail(f"not the answer: {payload!r}")
                    return
                self._answered.discard(stream)
                del self._expected[stream]
                if self.going:
                    out.append(self._call())
        self._buffer = buffer[at:]
        if self._received > _WINDOW_STEP // 2:
            out.append(_frame(_WINDOW, 0, 0, struct.pack(">I", self._received)))
            self._received = 0
        if out:
            self._send(b"".join(out))
        if not self.going and not self._started and not self.idle.done():
            self.idle.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.idle.done():
            self._fail(f"connection lost: {exc}")

    def _fail(self, why: str) -> None:
        self.failed = self.failed or why
        self.going = False
        if not self.idle.done():
            self.idle.set_result(None)


async def load(
    port: int,
    path: str,
    calls: Sequence[tuple[bytes, bytes]],
    *,
    concurrency: int,
    connections: int,
    seconds: float,
) -> Result:
    """Repeats calls, in turn, for some time.

    Args:
        calls: each a serialised request and the serialised response that counts as success.
        concurrency: calls in flight, over all connections.

    Raises:
        RuntimeError: the server answered anything else.
    """
    loop = asyncio.get_running_loop()
    open_ones = []
    started = time.perf_counter()
    for _ in range(connections):
        made = await loop.create_connection(
            lambda: _Connection(path, calls, concurrency // connections), "127.0.0.1", port
        )
        open_ones.append(made)
    await asyncio.sleep(seconds)
    for _, connection in open_ones:
        connection.going = False
    await asyncio.gather(*(connection.idle for _, connection in open_ones))
    took = time.perf_counter() - started
    failed = [connection.failed for _, connection in open_ones if connection.failed]
    for transport, _ in open_ones:
        transport.close()
    if failed:
        raise RuntimeError(failed[0])
    latencies = [latency for _, connection in open_ones for latency in connection.latencies_s]
    return Result(len(latencies), took, latencies)
