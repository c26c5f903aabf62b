"""Who hears: from what a request asks for to a recogniser that is held for it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, Protocol

from trunkline_hop.errors import Fault, NotFound, Unavailable
from trunkline_modelstore.lease import Lease
from trunkline_modelstore.residents import Resident
from trunkline_modelstore.status import State, Status
from trunkline_speech.config import Options
from trunkline_speech.fit import fits, unfit
from trunkline_speech.recogniser import Device, Recogniser, Task

_ENGINES: Final = "engines/"


@dataclass(frozen=True, slots=True)
class Listed:
    """A model, or an engine, as `ListModels` shows it."""

    name: str
    """`models/{model}/versions/{version}`, or `engines/{engine}`."""
    digest: str
    state: State
    error: str = ""
    engine: str = ""
    """This and what follows is empty unless it is loaded."""
    devices: tuple[Device, ...] = ()
    languages: tuple[str, ...] = ()
    size_bytes: int = 0
    window: int = 0
    """Samples."""
    word_times: bool = False
    tasks: tuple[Task, ...] = ()


class Models(Protocol):
    """The part of `ModelStore` that a choice is made with."""

    def lease(self, name: str) -> Lease[Any]:
        """A lease of a model's version in force, or of a version."""
        ...

    def find(self, name: str) -> Resident[Any] | None:
        """The resident that a name means, when it is in memory."""
        ...

    def status(self) -> list[Status]:
        """Every version that is held, wanted or failed, by name."""
        ...

    def ready(self) -> bool:
        """True when every model has a version in force."""
        ...


class Engine(Recogniser, Protocol):
    """A recogniser that brings its own model."""

    def standing_in(self) -> Recogniser:
        """Itself, with `fallback_engine` among the degradations of whatever it hears."""
        ...


class Recognisers:
    """Everything that can hear on this server.

    Args:
        models: holds the versions.
        names: the models of this server (`models/{model}`), the preferred one first.
        engines: by name (`engines/{engine}`), the preferred one first.
    """

    def __init__(self, models: Models, names: Sequence[str], engines: Mapping[str, Engine]) -> None:
        self._models = models
        self._names = tuple(names)
        self._engines = dict(engines)

    @asynccontextmanager
    async def lease(self, options: Options) -> AsyncIterator[Recogniser]:
        """The recogniser for a request or a session: it stays in memory until the block ends.

        One that is named serves or fails. Otherwise it is the first model that has the language and the task,
        of several languages for speech whose language is to be detected; and where none has, the first engine.
        Where a model that might have had them is not there, the engine says in every answer that it stands in.

        Raises:
            BadRequest: LANGUAGE_UNSUPPORTED, TASK_UNSUPPORTED.
            NotFound: MODEL_UNKNOWN, VERSION_UNKNOWN.
            NotAllowed: NOT_SERVING, MODEL_REFUSED.
            Unavailable: LOADING, DEVICE_LOST.
            Overloaded: no room for a version that is asked for by name.
        """
        if options.model.startswith(_ENGINES):
            yield _fitting(self._engine(options.model), options)
            return
        if options.model:
            async with self._models.lease(options.model) as lease:
                yield _fitting(_working(lease.model), options)
            return
        missing: Fault | None = None
        for name in self._names:
            try:
                lease = await self._models.lease(name).__aenter__()
            except Fault as fault:
                missing = missing or fault
                continue
            try:
                if not _works(lease.model):
                    missing = missing or _lost(lease.version)
                elif fits(lease.model, options.language, options.task):
                    yield lease.model
                    return
            finally:
                await lease.__aexit__(None, None, None)
        yield self._engine_for(options, missing)

    def listing(self) -> list[Listed]:
        """Every version that is loaded or on its way, and every engine, by name."""
        listed = [self._version(status) for status in self._models.status()]
        listed += [
            _listed(engine.name, "", State.READY, "", engine.size_bytes, engine)
            for engine in self._engines.values()
        ]
        return sorted(listed, key=lambda each: each.name)

    def ready(self) -> bool:
        """True when every model of this server has a version in force, and a device to run it on."""
        return not self._names or (
            self._models.ready()
            and all(
                (resident := self._models.find(name)) is not None and _works(resident.model)
                for name in self._names
            )
        )

    def _engine(self, name: str) -> Engine:
        if (engine := self._engines.get(name)) is None:
            raise NotFound(
                "MODEL_UNKNOWN",
                f"no engine {name} here; there is {', '.join(self._engines) or 'none'}",
                resource_type="model",
                resource_name=name,
            )
        return engine

    def _engine_for(self, options: Options, missing: Fault | None) -> Recogniser:
        """The engine where no model is, `missing` saying why one that might have served is not there."""
        for engine in self._engines.values():
            if fits(engine, options.language, options.task):
                return engine.standing_in() if missing else engine
        if missing is not None:
            raise missing
        every = [resident.model for name in self._names if (resident := self._models.find(name))]
        raise unfit(options.language, options.task, [*every, *self._engines.values()])

    def _version(self, status: Status) -> Listed:
        resident = self._models.find(status.version)
        model = None if resident is None else resident.model
        return _listed(status.version, status.digest, status.state, status.error, status.size_bytes, model)


def _listed(
    name: str, digest: str, state: State, error: str, size_bytes: int, recogniser: Recogniser | None
) -> Listed:
    if recogniser is None:
        return Listed(name, digest, state, error, size_bytes=size_bytes)
    return Listed(
        name=name,
        digest=digest,
        state=state,
        error=error,
        engine=recogniser.engine,
        devices=recogniser.devices,
        languages=recogniser.languages,
        size_bytes=size_bytes,
        window=recogniser.window,
        word_times=recogniser.word_times,
        tasks=recogniser.tasks,
    )


def _fitting(recogniser: Recogniser, options: Options) -> Recogniser:
    if not fits(recogniser, options.language, options.task):
        raise unfit(options.language, options.task, [recogniser])
    return recogniser


def _works(recogniser: Recogniser) -> bool:
    return any(device.active for device in recogniser.devices)


def _working(recogniser: Recogniser) -> Recogniser:
    if not _works(recogniser):
        raise _lost(recogniser.name)
    return recogniser


def _lost(version: str) -> Unavailable:
    return Unavailable("DEVICE_LOST", f"{version} has no device left", metadata={"model": version})
