"""Blocking work beside the event loop, which outlives its caller's cancellation in good order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from typing import TypeVar

T = TypeVar("T")


async def run(executor: Executor, work: Callable[[], T], undo: Callable[[T], object] | None = None) -> T:
    """Runs `work` in a thread and waits until it is over, even when cancelled meanwhile.

    A thread cannot be interrupted. Were the caller to go on at once, it would close a file that is being
    written, or forget a model that is just coming to life. So a cancellation takes effect at the end, after
    `undo` (in a thread as well) has taken back what the work made.
    """
    loop = asyncio.get_running_loop()
    future = loop.run_in_executor(executor, work)
    if await settle(future):
        return future.result()
    if future.exception() is None and undo is not None:
        made = future.result()
        await settle(loop.run_in_executor(executor, lambda: undo(made)))
    raise asyncio.CancelledError


async def settle(future: asyncio.Future[T]) -> bool:
    """Waits until a future is done, whatever happens. False when the waiting was cancelled meanwhile."""
    undisturbed = True
    while not future.done():
        try:
            await asyncio.wait([future])
        except asyncio.CancelledError:
            undisturbed = False
    return undisturbed
