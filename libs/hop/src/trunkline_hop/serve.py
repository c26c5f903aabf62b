"""A process around a server: settings in, serve out."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
from typing import NoReturn

import structlog
import uvloop

from trunkline_hop import logs
from trunkline_hop.server import Build, Server, running
from trunkline_hop.settings import CannotStart, SettingsT, load

logger = structlog.get_logger("trunkline_hop")


def serve(name: str, settings_type: type[SettingsT], build: Build[SettingsT]) -> NoReturn:
    """Serves until SIGTERM or SIGINT, drains, and ends the process.

    A second signal changes nothing: the drain ends when the accepted calls have, or after its grace.

    Exit status: 0 after a drain, 1 when the start or a background task failed, 2 for settings that are wrong or ask for
    what this machine does not have, such as a port that is taken.

    Args:
        name: the service's name in logs, spans and metrics.
        settings_type: read from the environment.
        build: wires the service.
    """
    settings = load(settings_type)
    logs.configure(name, settings.log_level)
    uvloop.run(_serve_and_exit(name, settings, build))
    raise AssertionError("the process has ended")


async def _serve_and_exit(name: str, settings: SettingsT, build: Build[SettingsT]) -> NoReturn:
    status = await _serve(name, settings, build)
    sys.stdout.flush()
    sys.stderr.flush()
    # From inside the loop: its end waits for executor threads, and a thread that loads a model or belongs to
    # a native library (gRPC, ONNX Runtime) must not keep a drained process alive.
    os._exit(status)


async def _serve(name: str, settings: SettingsT, build: Build[SettingsT]) -> int:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        # Before anything slow: a process that is told to stop while it starts, stops.
        loop.add_signal_handler(number, stop.set)
    stopping = loop.create_task(stop.wait())
    started = asyncio.Event()
    serving = loop.create_task(_run(name, settings, build, started, stop))
    await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if not started.is_set():
        serving.cancel()
    try:
        await serving
    except asyncio.CancelledError:
        logger.info("stopped before it served")
    except CannotStart as refusal:
        sys.stderr.write(f"{refusal}\n")
        return 2
    except Exception:
        logger.exception("failed")
        return 1
    finally:
        stopping.cancel()
    return 0


async def _run(
    name: str, settings: SettingsT, build: Build[SettingsT], started: asyncio.Event, stop: asyncio.Event
) -> None:
    async with running(name, settings, build) as server:
        started.set()
        server.spawn(_settle(server), name="settle")
        logger.info("listening", port=server.port, monitoring_port=server.monitoring_port)
        stopping = asyncio.get_running_loop().create_task(stop.wait())
        server.failed.add_done_callback(lambda _: stop.set())
        await stopping
        if server.failed.done():
            server.failed.result()


async def _settle(server: Server) -> None:
    """Once it serves, keeps what the process has loaded out of garbage collection.

    Modules, models and descriptors live as long as the process: 100,000 objects in ranking. A full collection walks
    all of them, for 75 ms in which no call is answered, and finds nothing.
    """
    await server.served.wait()
    gc.collect()
    gc.freeze()
