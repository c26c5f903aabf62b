"""The models of one server: those that the registry says serve, and those that somebody asks for by name."""

from __future__ import annotations

import asyncio
import contextvars
import random
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, TypeVar

import structlog

from trunkline_hop import context
from trunkline_hop.errors import Fault, NotAllowed, Overloaded, Unavailable
from trunkline_modelstore import faults, memory, threads
from trunkline_modelstore.backoff import Backoff
from trunkline_modelstore.cache import Cache, Damaged
from trunkline_modelstore.knowngood import KnownGood
from trunkline_modelstore.lease import Lease
from trunkline_modelstore.loader import Loader
from trunkline_modelstore.loading import Loading
from trunkline_modelstore.registry import Registry, ServingSet, Synced
from trunkline_modelstore.residents import Pin, Resident, Residents
from trunkline_modelstore.status import State, Status
from trunkline_modelstore.version import Key, Version, model_of
from trunkline_modelstore.watch import Watch

M = TypeVar("M")

log = structlog.get_logger("trunkline.modelstore")

PRESSURE = 0.8
"""Share of memory in use from which versions that no serving set names are given up."""
_MEMORY_INTERVAL_S = 2.0
_REMEMBERED = 1024
"""How many versions asked for by name, and how many failures, are remembered."""
_TRIES = 3
"""How often a version asked for by name may be pushed out between loading and leasing."""


class ModelStore(Generic[M]):
    """Holds versions in memory under a budget, and lends them.

    What the registry says last about a model holds. A new version is fetched, verified, loaded and warmed
    while the old one serves; then new leases get the new one, and the old one is unloaded when its last
    lease is returned. A version that fails changes nothing for those who lease.

    Args:
        loader: makes models out of files.
        registry: says which versions serve, and has their files.
        models: the models of this server, as `models/{model}`.
        cache_dir: files by digest, and the last known good set. Replicas of one service may share it.
        budget_bytes: what all versions together may take of memory, as the loader counts it. It must hold
            a version and its successor, or the successor never loads.
        limit: most versions in memory at once, those that are still leased included; at least 2 for each
            model, as above. None: as many as the budget holds.
        disk_bytes: what the cache keeps on disk beyond what serves; twice the budget unless given.
        on_change: called whenever `ready()` or the versions in force may have changed.
        wait_s: how long a lease waits for a version asked for by name to load before it answers LOADING.
        used_share: share of memory in use, see `memory`.
        sleep, rng: pauses and their jitter.
    """

    def __init__(
        self,
        loader: Loader[M],
        registry: Registry,
        *,
        models: Sequence[str],
        cache_dir: Path,
        budget_bytes: int,
        limit: int | None = None,
        disk_bytes: int | None = None,
        on_change: Callable[[], None] = lambda: None,
        wait_s: float = 1.0,
        used_share: Callable[[], float] = memory.used_share,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        rng: random.Random | None = None,
    ) -> None:
        self._models = tuple(models)
        self._registry = registry
        self._disk_bytes = 2 * budget_bytes if disk_bytes is None else disk_bytes
        self._on_change = on_change
        self._wait_s = wait_s
        self._used_share = used_share
        self._sleep = sleep
        self._rng = rng or random.Random()
        # Not the context of a call: its deadline would end a load that others wait for.
        self._context = contextvars.copy_context()
        self._executor = ThreadPoolExecutor(2, thread_name_prefix="modelstore")
        self._cache = Cache(cache_dir, self._executor, self._context)
        self._known_good = KnownGood(cache_dir / "known-good.json")
        self._residents: Residents[M] = Residents(budget_bytes, limit)
        self._loading = Loading(
            loader, registry, self._cache, self._residents, self._executor, self._context, self._pin_of
        )
        self._serving: dict[str, dict[Key, Version]] = {}
        """By model, what the registry said last."""
        self._synced = False
        self._in_force: dict[str, Resident[M]] = {}
        self._named: OrderedDict[str, Version] = OrderedDict()
        """Versions by name; what is known of them never changes."""
        self._errors: OrderedDict[Key, Fault] = OrderedDict()
        """Why the last try failed. A NotAllowed is final."""
        self._wanted: dict[Key, asyncio.Task[None]] = {}
        """Tasks that load what the registry names, until it is loaded or refused."""
        self._demanded: dict[Key, asyncio.Task[None]] = {}
        """Tasks that load what somebody asked for by name, once."""
        self._background: list[asyncio.Task[None]] = []
        self._save = asyncio.Event()
        self._closed = False

    async def __aenter__(self) -> ModelStore[M]:
        """Starts from the last known good set, if there is one, and follows the registry."""
        known = await threads.run(self._executor, self._known_good.read)
        for model, version in known.items():
            if model in self._models:
                self._apply(ServingSet(model, (version,)))
        watch = Watch(self._registry, self._models, Backoff(random=self._rng), self._sleep)
        for name, work in (
            ("watch", watch.run(self._apply)),
            ("memory", self._relieve()),
            ("save", self._keep_saved()),
        ):
            self._background.append(self._spawn(work, name))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends every task and unloads everything that is not leased."""
        self._closed = True
        tasks = [*self._background, *self._wanted.values(), *self._demanded.values()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        self._in_force.clear()
        await self._loading.unload([held for held in self._residents if self._residents.retire(held)])
        await self._loading.close()
        self._executor.shutdown()

    # ---- what a server asks

    def lease(self, name: str) -> Lease[M]:
        """A lease of the version in force (`models/fraud`) or of one by name (`models/fraud/versions/3`).

        Entering it takes no await when the version is in memory. It raises:

            NotFound: MODEL_UNKNOWN, VERSION_UNKNOWN.
            NotAllowed: NOT_SERVING, the model has no version in production; MODEL_REFUSED.
            Unavailable: LOADING, not yet in memory.
            Overloaded: TOO_LARGE, SHED: no room beside what is leased and in force.
        """
        return Lease(self, name)

    def ready(self) -> bool:
        """True when every model has a version in force: verified, loaded, warmed. False without models."""
        return bool(self._models) and all(model in self._in_force for model in self._models)

    def status(self) -> list[Status]:
        """Every version that is held, wanted or failed, by name."""
        keys = dict.fromkeys(key for versions in self._serving.values() for key in versions)
        keys |= dict.fromkeys([held.key for held in self._residents] + [*self._demanded, *self._errors])
        return [self._status_of(key) for key in sorted(keys)]

    def _status_of(self, key: Key) -> Status:
        fault = self._errors.get(key)
        error = fault.message if fault else ""
        if (held := self._residents.find(key)) is not None:
            in_force = self._in_force.get(model_of(key[0]) or "") is held
            state = State.IN_FORCE if in_force else State.READY
            return Status(*key, state, error, held.size_bytes, held.leases)
        if fault is None:
            return Status(*key, State.LOADING)
        return Status(*key, State.REFUSED if isinstance(fault, NotAllowed) else State.FAILED, error)

    # ---- what a lease asks

    def find(self, name: str) -> Resident[M] | None:
        """The resident that a name means, when it is in memory."""
        if (resident := self._in_force.get(name)) is not None:
            return resident
        version = self._named.get(name)
        return None if version is None else self._residents.find(version.key)

    def take(self, resident: Resident[M]) -> None:
        """Counts a user of a resident that was found in this step of the event loop."""
        self._residents.lease(resident)

    def give_back(self, resident: Resident[M]) -> None:
        """Counts a user off."""
        if self._residents.release(resident):
            if self._closed:
                self._loading.loader.unload(resident.model)
            else:
                self._loading.discard(resident)

    async def obtain(self, name: str) -> Resident[M]:
        """The resident that a name means, loaded if it is a version's name. Raises as `lease` says."""
        if name in self._models:
            raise self._not_in_force(name)
        model = model_of(name)
        if model not in self._models:
            raise faults.unknown("MODEL_UNKNOWN", model or name)
        version = self._named.get(name)
        if version is None:
            version = await self._registry.get(name)
            version.check()
            if version.name != name:
                raise faults.unknown("VERSION_UNKNOWN", name)
            self._remember(version)
        loop = asyncio.get_running_loop()
        until = loop.time() + self._wait_s
        call = context.current.get()
        if call is not None and call.deadline is not None:
            # LOADING says more than a deadline that passed: leave it the time to arrive.
            until = min(until, call.deadline - 0.1 * self._wait_s)
        for _ in range(_TRIES):
            if isinstance(refused := self._errors.get(version.key), NotAllowed):
                raise faults.again(refused)
            task = self._demand(version)
            await asyncio.wait([task], timeout=max(0.0, until - loop.time()))
            if (resident := self._residents.find(version.key)) is not None:
                return resident
            if not task.done():
                break
            fault = self._errors.get(version.key)
            if isinstance(fault, Overloaded | NotAllowed):
                raise faults.again(fault)
            if fault is not None:
                break
        raise faults.loading(name)

    def _not_in_force(self, model: str) -> Fault:
        if model not in self._serving:
            return faults.unknown("MODEL_UNKNOWN", model) if self._synced else faults.loading(model)
        production = self._production(model)
        if production is None:
            return NotAllowed("NOT_SERVING", f"{model} has no version in production", subject=model)
        fault = self._errors.get(production.key)
        return faults.again(fault) if isinstance(fault, NotAllowed) else faults.loading(model)

    def _demand(self, version: Version) -> asyncio.Task[None]:
        """The task that loads a version once, for everybody who asked for it by name."""
        if (task := self._demanded.get(version.key)) is None:
            task = self._demanded[version.key] = self._spawn(self._load_once(version), f"load {version.name}")
            task.add_done_callback(lambda _: self._demanded.pop(version.key))
        return task

    # ---- what the registry says

    def _apply(self, event: ServingSet | Synced) -> None:
        """Takes the registry's last word on a model. What makes no sense changes nothing."""
        if isinstance(event, Synced):
            self._synced = True
            if missing := [model for model in self._models if model not in self._serving]:
                log.warning("the registry does not know these models", models=missing)
            return
        try:
            self._check(event)
        except NotAllowed as fault:
            log.error("serving set ignored", model=event.model, reason=fault.reason, error=fault.message)
            return
        self._forget_errors(event.model)
        self._serving[event.model] = {version.key: version for version in event.versions}
        for version in event.versions:
            self._remember(version)
        self._reconcile(event.model)

    def _check(self, event: ServingSet) -> None:
        if event.model not in self._models:
            raise NotAllowed("MODEL_REFUSED", f"{event.model} was not asked for", subject=event.model)
        if sum(version.production for version in event.versions) > 1:
            raise NotAllowed(
                "MODEL_REFUSED", f"{event.model} has two versions in production", subject=event.model
            )
        for version in event.versions:
            if model_of(version.name) != event.model:
                raise NotAllowed(
                    "MODEL_REFUSED", f"{version.name} is not of {event.model}", subject=event.model
                )
            try:
                version.check()
            except NotAllowed as fault:
                self._failed(version, fault)
                raise

    def _reconcile(self, model: str) -> None:
        """Brings what is held and what is loading in line with what the registry said last."""
        serving = self._serving.get(model, {})
        for key, task in self._wanted.items():
            if model_of(key[0]) == model and key not in serving:
                task.cancel()
        for key, version in serving.items():
            refused = isinstance(self._errors.get(key), NotAllowed)
            if key not in self._wanted and not refused and self._residents.find(key) is None:
                task = self._wanted[key] = self._spawn(self._load_until_held(version), f"hold {version.name}")
                task.add_done_callback(lambda _, key=key: self._settled(key))  # type: ignore[misc]
        production = self._production(model)
        if production is None:
            self._put_in_force(model, None)
        elif (resident := self._residents.find(production.key)) is not None:
            self._put_in_force(model, resident)
        for held in self._residents:
            if model_of(held.key[0]) == model:
                self._repin(held)

    def _repin(self, held: Resident[M]) -> None:
        """Keeps a version for the reason there is now; without one, a version that served is drained."""
        pin = self._pin_of(held.key)
        if pin is Pin.NONE and held.pin is not Pin.NONE:
            if self._residents.retire(held):
                self._loading.discard(held)
        else:
            held.pin = pin

    def _put_in_force(self, model: str, resident: Resident[M] | None) -> None:
        before = self._in_force.get(model)
        if resident is before:
            return
        if resident is None:
            del self._in_force[model]
        else:
            self._in_force[model] = resident
        log.info(
            "in force", model=model, version=resident and resident.key[0], before=before and before.key[0]
        )
        self._save.set()
        self._on_change()

    def _pin_of(self, key: Key) -> Pin:
        model = model_of(key[0]) or ""
        held = self._in_force.get(model)
        if held is not None and held.key == key:
            return Pin.PRODUCTION
        version = self._serving.get(model, {}).get(key)
        if version is None:
            return Pin.NONE
        return Pin.PRODUCTION if version.production else Pin.CANDIDATE

    def _production(self, model: str) -> Version | None:
        return next((version for version in self._serving[model].values() if version.production), None)

    # ---- tasks

    async def _load_until_held(self, version: Version) -> None:
        """Loads a version; tries again after what may pass."""
        backoff = Backoff(random=self._rng)
        while not await self._load_once(version):
            if isinstance(self._errors.get(version.key), NotAllowed):
                return
            await self._sleep(backoff.next_s())

    async def _load_once(self, version: Version) -> bool:
        """Loads a version. False when that failed, which is then noted."""
        try:
            await self._loading.bring(version)
        except Damaged as fault:
            self._failed(version, Unavailable("LOADING", fault.message, retry_after=faults.RETRY_AFTER))
        except Fault as fault:
            self._failed(version, fault)
        except Exception as error:
            log.exception("loading failed", version=version.name)
            what = f"{version.name} failed to load: {type(error).__name__}"
            self._failed(version, Unavailable("LOADING", what, retry_after=faults.RETRY_AFTER))
        else:
            self._errors.pop(version.key, None)
            return True
        return False

    def _settled(self, key: Key) -> None:
        """A task of `_wanted` ended: it loaded, was refused, or was cancelled because nobody wanted it."""
        del self._wanted[key]
        if not self._closed:
            self._reconcile(model_of(key[0]) or "")

    async def _relieve(self) -> None:
        """Gives up one version at a time while memory is short."""
        while True:
            await self._sleep(_MEMORY_INTERVAL_S)
            if self._used_share() > PRESSURE and (victim := self._residents.shed()) is not None:
                log.warning("memory is short", unloading=victim.key[0])
                await self._loading.unload([victim])

    async def _keep_saved(self) -> None:
        """Writes down what is in force after every change, and tidies the cache."""
        while True:
            await self._save.wait()
            self._save.clear()
            serving = [version for versions in self._serving.values() for version in versions.values()]
            in_use = [
                v for v in self._named.values() if v.key in self._demanded or self._residents.find(v.key)
            ]
            write = partial(self._known_good.write, self._good())
            wanted = {file.sha256 for version in (*serving, *in_use) for file in version.files}
            sweep = partial(self._cache.sweep, wanted, self._disk_bytes)
            try:
                await threads.run(self._executor, write)
                await threads.run(self._executor, sweep)
            except OSError:
                log.exception("the cache directory cannot be written")

    def _good(self) -> dict[str, Version]:
        """What is in force, by model, as far as the registry still says so."""
        return {
            model: self._serving[model][held.key]
            for model, held in self._in_force.items()
            if held.key in self._serving[model]
        }

    def _spawn(self, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        return asyncio.create_task(work, name=name, context=self._context.copy())

    # ---- memory of names and failures

    def _remember(self, version: Version) -> None:
        self._named[version.name] = version
        self._named.move_to_end(version.name)
        if len(self._named) > _REMEMBERED:
            self._named.popitem(last=False)

    def _failed(self, version: Version, fault: Fault) -> None:
        log.error("version not loaded", version=version.name, reason=fault.reason, error=fault.message)
        self._errors[version.key] = fault
        self._errors.move_to_end(version.key)
        if len(self._errors) > _REMEMBERED:
            self._errors.popitem(last=False)

    def _forget_errors(self, model: str) -> None:
        for key in [key for key in self._errors if model_of(key[0]) == model]:
            del self._errors[key]
