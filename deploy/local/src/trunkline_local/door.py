"""The gateway as a command reaches it: where it is, a channel to it, and what to tell who finds nobody there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc.aio
from rich.console import Console
from rich.markup import escape

from trunkline_hop.client_settings import MESSAGE_BYTES
from trunkline_hop.errors import Fault, Unavailable, Unimplemented
from trunkline_hop.status import from_rpc
from trunkline_local.state import DataDirectory
from trunkline_local.suite import PORT_BASE

FAILURE, NOBODY = 1, 3
"""Exit statuses."""
NOBODY_BEHIND = ("UNREACHABLE", "BREAKER_OPEN", "DRAINING", "LOADING")
"""Reasons of UNAVAILABLE that say nothing of what was asked."""

_LOST = ("Internal error from Core", "Stream removed")
"""What the transport itself says of a stream that it gave up."""


class NobodyThere(RuntimeError):
    """There is nothing to talk to. The message says what to do."""


class StreamLost(Unavailable):
    """The transport gave a stream up while a message was on its way, and with it whatever the server had said."""


def gateway_of(data_dir: Path, target: str | None) -> str:
    """The address that was named, that of the suite which runs from a directory, or where one usually is."""
    if target is not None:
        return target
    state = DataDirectory(data_dir).running()
    return state.gateway if state is not None else f"127.0.0.1:{PORT_BASE}"


def open_channel(target: str) -> grpc.aio.Channel:
    """A channel to a gateway, which does what else a hop does."""
    options = [
        ("grpc.max_send_message_length", MESSAGE_BYTES),
        ("grpc.max_receive_message_length", MESSAGE_BYTES),
        ("grpc.initial_reconnect_backoff_ms", 100),
        # The name misleads: how long one attempt to connect may take. A busy machine takes its time.
        ("grpc.min_reconnect_backoff_ms", 5000),
        ("grpc.max_reconnect_backoff_ms", 1000),
    ]
    return grpc.aio.insecure_channel(target, options)


def fault_of(error: grpc.aio.AioRpcError) -> Fault:
    """What a call ended with, in the suite's words."""
    fault = from_rpc(error.code(), error.details(), tuple(error.trailing_metadata() or ()))
    if fault.details is None and fault.message.startswith(_LOST):
        return StreamLost("UNREACHABLE", "the connection broke")
    return fault


@contextmanager
def somebody_at(target: str, service: str, model: str) -> Iterator[None]:
    """Tells the faults of nobody being there from all others.

    Args:
        target: the gateway.
        service: what it is asked for, such as `speech`.
        model: the kind of model that a suite needs for it, such as `speech`.

    Raises:
        NobodyThere: nobody answers there, or nobody who offers the service.
    """
    try:
        yield
    except Unimplemented as fault:
        raise NobodyThere(
            f"{target} has no {service} service; a suite has one when a {model} model lies in models/"
        ) from fault
    except Unavailable as fault:
        if fault.details and fault.reason not in NOBODY_BEHIND:
            raise
        remedy = (
            "`trunkline status` says why"
            if fault.details  # somebody of the suite answered that nobody is behind
            else "start the suite with `trunkline up --detach`, or name a gateway with --target"
        )
        raise NobodyThere(
            f"nothing answers at {target}{f': {fault.message}' if fault.details else ''}; {remedy}"
        ) from fault


def complain(notes: Console, reason: str) -> None:
    """Says what was in the way. Not wrapped: a reason is searched for and its paths are copied."""
    notes.print(f"[bold red]trunkline:[/] {escape(reason)}", soft_wrap=True)
