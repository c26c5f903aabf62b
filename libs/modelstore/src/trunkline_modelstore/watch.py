"""Following the registry, through its restarts."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import structlog

from trunkline_hop.errors import BadRequest, Fault
from trunkline_modelstore.backoff import Backoff
from trunkline_modelstore.registry import Draining, Registry, ServingSet, Synced

log = structlog.get_logger("trunkline.modelstore")


@dataclass(slots=True)
class Watch:
    """A watch that never ends: it goes on from the last event after whatever breaks it."""

    registry: Registry
    models: Sequence[str]
    backoff: Backoff
    sleep: Callable[[float], Awaitable[None]]
    token: str = ""
    """Where the last event left off."""

    async def run(self, apply: Callable[[ServingSet | Synced], None]) -> None:
        """Hands over every event in the order in which it came, until cancelled."""
        while True:
            pause = True
            try:
                pause = await self._follow(apply)
            except BadRequest as fault:
                # The registry does not know the token, as after a restore: from the start.
                log.warning(
                    "watch refused", reason=fault.reason, error=fault.message, resume_token=self.token
                )
                self.token = ""
            except Fault as fault:
                log.warning("watch broken", reason=fault.reason, error=fault.message)
            except Exception:
                # A defect, here or there. What is loaded serves on, so the watch goes on as well.
                log.exception("watch failed")
            if pause:
                await self.sleep(self.backoff.next_s())

    async def _follow(self, apply: Callable[[ServingSet | Synced], None]) -> bool:
        """One stream to its end. False when another one should be opened at once."""
        progress = False
        async with contextlib.aclosing(self.registry.watch(self.models, self.token)) as events:
            async for event in events:
                self.token = event.resume_token or self.token
                if isinstance(event, Draining):
                    # A registry that greets everybody with this is not asked again without a pause.
                    return not progress
                progress = True
                self.backoff.reset()
                apply(event)
        return True
