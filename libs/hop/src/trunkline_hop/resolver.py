"""Targets to addresses: `a:1,b:2`, `unix:/path`, `dns:///host:port`, and lists of them."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

Lookup = Callable[[str, int], Awaitable[Sequence[str]]]
"""From a host name and a port to the IP addresses behind it, as `loop.getaddrinfo` gives them."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where one endpoint listens."""

    target: str
    """As gRPC dials it: `host:port`, `[v6]:port` or `unix:path`."""
    authority: str = ""
    """The host name that its certificate has to carry, where `target` is an address found for it."""


@dataclass(frozen=True, slots=True)
class Target:
    """A parsed target."""

    fixed: tuple[Address, ...]
    """Endpoints named in the target."""
    names: tuple[tuple[str, int], ...]
    """Host names and ports to look up."""

    @classmethod
    def parse(cls, text: str) -> Target:
        """Reads a comma-separated list.

        Raises:
            ValueError: an element is no `host:port`, `unix:path` or `dns:///host:port`, or there is none.
        """
        fixed: list[Address] = []
        names: list[tuple[str, int]] = []
        for part in filter(None, (part.strip() for part in text.split(","))):
            if part.startswith("unix:"):
                fixed.append(Address(part))
            elif part.startswith("dns:"):
                names.append(_split(part.removeprefix("dns:").removeprefix("///"), part))
            else:
                _split(part, part)
                fixed.append(Address(part))
        if not fixed and not names:
            raise ValueError(f"{text!r} names no endpoint")
        return cls(tuple(dict.fromkeys(fixed)), tuple(dict.fromkeys(names)))

    async def resolve(self, lookup: Lookup) -> tuple[Address, ...]:
        """Every endpoint, in the order of the target.

        Raises:
            OSError: a name could not be looked up.
        """
        found = list(self.fixed)
        for host, port in self.names:
            ips = await lookup(host, port)
            found += [Address(f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}", host) for ip in ips]
        return tuple(dict.fromkeys(found))


def _split(text: str, whole: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or "/" in host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError(f"{whole!r} is no host:port, unix:path or dns:///host:port")
    return host.strip("[]"), int(port)


async def system_lookup(host: str, port: int) -> Sequence[str]:
    """The resolver of the machine.

    Raises:
        OSError: the name is unknown, or nobody can tell.
    """
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return sorted({str(entry[4][0]) for entry in found})
