"""What a call knows about itself, carried from the server side of a hop to its client side."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from enum import IntEnum


class Priority(IntEnum):
    """Which work is shed last. The numbers are those of trunkline.options.v1.Priority."""

    BATCH = 1
    DEFAULT = 2
    INTERACTIVE = 3


@dataclass(frozen=True, slots=True)
class Principal:
    """Who calls."""

    name: str
    """`anonymous`, or the name in the caller's certificate."""
    method: str
    """How the name is known: `none` or `mtls`."""


ANONYMOUS = Principal("anonymous", "none")


@dataclass(slots=True)
class Context:
    """The call being served. Client calls made under it inherit what is left of it."""

    deadline: float | None = None
    """When it must be answered, in seconds of `time.monotonic()`; None in a long session."""
    priority: Priority = Priority.DEFAULT
    principal: Principal = ANONYMOUS
    forwarded: tuple[tuple[str, str], ...] = ()
    """Metadata that onward calls carry as it came, such as rollout assignments (`x-trunkline-*`)."""


current: ContextVar[Context | None] = ContextVar("trunkline_call", default=None)
"""The call being served in this task, None outside of one."""
