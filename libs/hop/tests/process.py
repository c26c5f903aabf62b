"""A process that serves the echo, for the tests of signals: python process.py MODE.

Modes: `echo`; `frozen` (says so once garbage collection leaves alone what it started with); `slow-start` (its build waits for ever); `stuck-thread` (so does a thread it started);
`task-fails` (a background task fails when the file named by TRUNKLINE_TRIGGER appears).
"""

from __future__ import annotations

import asyncio
import gc
import importlib.util
import sys
import threading
from pathlib import Path
from typing import Any

from trunkline_hop import Server, ServiceSettings, serve

_spec = importlib.util.spec_from_file_location("hop_echo", Path(__file__).with_name("echo.py"))
assert _spec is not None and _spec.loader is not None
hop_echo = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(hop_echo)


class Settings(ServiceSettings):
    trigger: str = ""


async def build(server: Server, settings: Settings) -> None:
    mode = sys.argv[1]
    servicer = hop_echo.EchoServicer()

    async def work(request: Any, call: Any) -> Any:
        await asyncio.sleep(request.value)
        return hop_echo.EchoResponse(text=request.text)

    async def session(requests: Any, call: Any) -> None:
        await call.write(hop_echo.EchoResponse(text="hello"))
        await call.draining.wait()
        await call.write(hop_echo.EchoResponse(text="resume-7"))

    servicer.on_echo, servicer.on_converse = work, session
    server.add(servicer)
    if mode == "frozen":

        async def frozen() -> None:
            while not gc.get_freeze_count():
                await asyncio.sleep(0.02)
            print("frozen", flush=True)

        server.spawn(frozen(), name="watch of the collector")
    if mode == "slow-start":
        print("building", flush=True)
        await asyncio.Event().wait()
    if mode == "stuck-thread":
        asyncio.get_running_loop().run_in_executor(None, threading.Event().wait)
    if mode == "task-fails":

        async def fail() -> None:
            while not Path(settings.trigger).exists():
                await asyncio.sleep(0.02)
            raise ValueError("the store is gone for good")

        server.spawn(fail(), name="store watch")


if __name__ == "__main__":
    serve("echo", Settings, build)
