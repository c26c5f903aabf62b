"""A TCP proxy on loopback that fails on demand, in the same way every time.

It knows no protocol: it stands in front of gRPC, Valkey and PostgreSQL alike. A fault holds for the connections
that are open and for those that come, until another one is set.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from enum import StrEnum
from types import TracebackType
from typing import Self

HOST = "127.0.0.1"
LATENCY_S = 0.02
DRIP_S = 0.5
RESET_AFTER = 2
"""Bytes of answers that a connection still brings before it is reset: less than any protocol's whole answer."""
GARBAGE = b"\xde\xad\xbe\xef" * (5 << 18)
"""No HTTP/2 frame, no RESP and no PostgreSQL message begins like this; and it is longer than a frame that was
under way when it came, of which it becomes a part."""
_READ_BYTES = 256 * 1024
_ROUGHLY = struct.pack("ii", 1, 0)


class Fault(StrEnum):
    """What is wrong."""

    PASS = "pass"
    """Nothing."""
    LATENCY = "latency"
    """Every packet, in both directions, is 20 ms late."""
    REFUSE = "refuse"
    """Connections are reset: the open ones at once, new ones when they are accepted."""
    HANG = "hang"
    """Connections are accepted, what they bring is read, and nothing is ever answered."""
    RESET = "reset"
    """Connections are reset in the middle of an answer, after its first two bytes."""
    GARBAGE = "garbage"
    """Every connection brings bytes that are no message of any protocol, and nothing else."""
    DRIP = "drip"
    """Answers come a byte at a time, two bytes a second."""


class Proxy:
    """Stands in front of one server. An async context manager.

    Args:
        upstream: port of the server, on loopback; may be said later, by the attribute.
    """

    def __init__(self, upstream: int = 0) -> None:
        self.upstream = upstream
        self.port = 0
        self.fault = Fault.PASS
        self.latency_s = LATENCY_S
        self.accepted = 0
        """Connections so far."""
        self._switched = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._connections: dict[asyncio.Task[None], _Connection] = {}

    @property
    def target(self) -> str:
        """Where it listens."""
        return f"{HOST}:{self.port}"

    @property
    def open(self) -> int:
        """Connections that clients have to it now."""
        return len(self._connections)

    def set(self, fault: Fault) -> None:
        """Switches to a fault. Connections on which the one before lost bytes are reset: nothing can mend them."""
        self.fault = fault
        self._switched.set()
        self._switched = asyncio.Event()
        for connection in self._connections.values():
            connection.struck(fault)

    async def pause(self, seconds: float) -> None:
        """Waits, or until the fault is another one."""
        try:
            await asyncio.wait_for(self._switched.wait(), seconds)
        except TimeoutError:
            return

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, HOST, self.port, limit=_READ_BYTES)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.close()
            for connection in self._connections.values():
                connection.reset()
            await asyncio.gather(*self._connections, return_exceptions=True)
            await self._server.wait_closed()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        connection = _Connection(self, reader, writer)
        if self.fault is Fault.REFUSE:
            connection.reset()
            return
        task = asyncio.get_running_loop().create_task(connection.run(self.upstream))
        self._connections[task] = connection
        task.add_done_callback(self._connections.pop)


class _Connection:
    """One client's connection, and the one to the server behind it."""

    def __init__(self, proxy: Proxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._proxy = proxy
        self._reader = reader
        self._writer = writer
        self._upstream: asyncio.StreamWriter | None = None
        self._spoiled = False
        self._babbled = False
        self._left = RESET_AFTER

    async def run(self, port: int) -> None:
        """Carries bytes both ways until either end is gone."""
        pumps: list[asyncio.Task[None]] = []
        try:
            answers, self._upstream = await asyncio.open_connection(HOST, port, limit=_READ_BYTES)
            pumps = [
                asyncio.ensure_future(self._pump(self._reader, self._upstream, answer=False)),
                asyncio.ensure_future(self._pump(answers, self._writer, answer=True)),
            ]
            # A server that leaves while nothing gets through leaves its client waiting.
            await pumps[0]
        except OSError:
            return  # either end reset it, or there is no server: so does the other, below
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            self.reset()

    def struck(self, fault: Fault) -> None:
        """The fault is another one now."""
        self._left = RESET_AFTER
        if fault is Fault.REFUSE or self._spoiled:
            self.reset()
        elif fault is Fault.GARBAGE:
            self._babble()

    def reset(self) -> None:
        """RST to both ends."""
        for writer in (self._writer, self._upstream):
            if writer is not None and not writer.transport.is_closing():
                sock: socket.socket = writer.get_extra_info("socket")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ROUGHLY)
                writer.transport.abort()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answer: bool
    ) -> None:
        try:
            while data := await reader.read(_READ_BYTES):
                while data:
                    data = await self._carry(data, writer, answer=answer)
        except OSError:
            self.reset()
            return
        if self._proxy.fault is not Fault.HANG:
            self._writer.close() if answer else self.reset()

    async def _carry(self, data: bytes, writer: asyncio.StreamWriter, *, answer: bool) -> bytes:
        """Does with some bytes what the fault of this moment says; returns those that are still to be carried."""
        match self._proxy.fault:
            case Fault.HANG:
                self._spoiled = True
                return b""
            case Fault.GARBAGE:
                if not answer:
                    self._babble()
                self._spoiled = True
                return b""
            case Fault.RESET if answer:
                writer.write(data[: self._left])
                self._left -= len(data)
                if self._left <= 0:
                    self.reset()
                return b""
            case Fault.DRIP if answer:
                writer.write(data[:1])
                await self._proxy.pause(DRIP_S)
                return data[1:]
            case Fault.LATENCY:
                await self._proxy.pause(self._proxy.latency_s)
                if self._proxy.fault is not Fault.LATENCY:
                    return data
        writer.write(data)
        await writer.drain()
        return b""

    def _babble(self) -> None:
        if not self._babbled and not self._writer.transport.is_closing():
            self._spoiled = self._babbled = True
            self._writer.write(GARBAGE)
