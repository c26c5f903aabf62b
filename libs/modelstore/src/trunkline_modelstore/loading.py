"""Bringing a version into memory: room, files, engine; and out again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from contextvars import Context
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import structlog

from trunkline_modelstore import threads
from trunkline_modelstore.cache import Cache
from trunkline_modelstore.flight import SingleFlight
from trunkline_modelstore.loader import Loader
from trunkline_modelstore.registry import Registry
from trunkline_modelstore.residents import Pin, Resident, Residents
from trunkline_modelstore.version import Key, LocalVersion, Version

M = TypeVar("M")

log = structlog.get_logger("trunkline.modelstore")


@dataclass(slots=True)
class Loading(Generic[M]):
    """Loads versions, each once at a time, and unloads them."""

    loader: Loader[M]
    registry: Registry
    cache: Cache
    residents: Residents[M]
    executor: Executor
    context: Context
    pin_of: Callable[[Key], Pin]
    """Why a version is wanted at this moment, which may change while it loads."""
    _flights: SingleFlight[Key, None] = field(init=False)
    _unloading: set[asyncio.Task[None]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._flights = SingleFlight(self.context)

    async def bring(self, version: Version) -> None:
        """Makes a version resident, warm. It may be pushed out again before the caller runs.

        Raises:
            NotAllowed: it will never load (but see `Damaged`).
            Overloaded: it does not fit.
            Exception: it did not work this time.
        """
        await self._flights.run(version.key, lambda: self._bring(version))

    async def _bring(self, version: Version) -> None:
        if self.residents.find(version.key) is not None:
            return
        evicted = self.residents.reserve(version.key, version.size_bytes, self.pin_of(version.key))
        try:
            await self.unload(evicted)
            local = await self.cache.version(version, self.registry.download)
            model, size_bytes = await threads.run(
                self.executor, lambda: self._load(local), lambda loaded: self.loader.unload(loaded[0])
            )
        except BaseException:
            self.residents.cancel(version.key)
            raise
        try:
            _, evicted = self.residents.admit(version.key, model, size_bytes, self.pin_of(version.key))
        except BaseException:
            await threads.run(self.executor, lambda: self.loader.unload(model))
            raise
        log.info("loaded", version=version.name, digest=version.digest, size_bytes=size_bytes)
        await self.unload(evicted)

    def _load(self, version: LocalVersion) -> tuple[M, int]:
        """In a thread: the warm model and its size."""
        model = self.loader.load(version)
        try:
            self.loader.warm(model)
            return model, self.loader.size_bytes(model)
        except BaseException:
            self.loader.unload(model)
            raise

    async def unload(self, residents: Iterable[Resident[M]]) -> None:
        """Gives the memory of versions that are no longer held back, and waits for it."""
        if tasks := [self.discard(resident) for resident in residents]:
            await asyncio.wait(tasks)

    def discard(self, resident: Resident[M]) -> asyncio.Task[None]:
        """Starts to give back the memory of a version that is no longer held."""
        task = asyncio.create_task(
            self._discard(resident), name=f"unload {resident.key[0]}", context=self.context.copy()
        )
        self._unloading.add(task)
        task.add_done_callback(self._unloading.discard)
        return task

    async def _discard(self, resident: Resident[M]) -> None:
        try:
            await threads.run(self.executor, lambda: self.loader.unload(resident.model))
        except Exception:
            log.exception("unloading failed", version=resident.key[0])
        else:
            log.info("unloaded", version=resident.key[0], digest=resident.key[1])

    async def close(self) -> None:
        """Waits until all that was to be unloaded is."""
        while self._unloading:
            await asyncio.wait(self._unloading)
