"""One index on this replica: the collection in memory, and how it follows what is on disk."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import numpy as np
import structlog
from numpy.typing import NDArray

from trunkline_hop.errors import NotAllowed, TooLate, Unavailable
from trunkline_hop.telemetry import span
from trunkline_retrieval import files
from trunkline_retrieval.changes import Entry
from trunkline_retrieval.collection import Collection, Matches, View
from trunkline_retrieval.device import Device
from trunkline_retrieval.filter import Filter
from trunkline_retrieval.index import Index
from trunkline_retrieval.log import Gone, LogReader
from trunkline_retrieval.records import Damaged
from trunkline_retrieval.shelf import Shelf
from trunkline_retrieval.snapshot import SnapshotCorrupt, load

INLINE_S = 0.0015
"""A search that takes no longer runs on the event loop. A thread would cost it more by the hand-over than others
would gain: with the GIL and one core they wait for it either way."""
_CHUNK_S = 0.02
"""Longest stretch of a batch search that cannot be interrupted: half of the 50 ms in which cancelled work stops."""
_APPLY_S = 0.004
"""Longest stretch in which changes are applied without a look at what else there is to do."""
_RETRY_S = 5.0
"""Pause before something is tried again that failed for a reason which seldom goes away by itself."""
_SOON = timedelta(milliseconds=200)

logger = structlog.get_logger("trunkline_retrieval")


@dataclass(frozen=True, slots=True)
class Search:
    """What is asked of an index."""

    queries: NDArray[np.float32]
    """`[queries, dimension]`."""
    top_k: int
    filter: Filter | None = None
    include_attributes: bool = False
    min_sequence: int = 0


@dataclass(frozen=True, slots=True)
class Found:
    """What a search found."""

    matches: list[Matches]
    """One a query."""
    snapshot_id: str | None
    sequence: int


@dataclass(slots=True, eq=False)
class Replica:
    """An index as this process has it.

    Whatever moves the collection on holds `moving`: the follower, the writer, and the swap to another snapshot. Searches
    take a view and need no lock.
    """

    index: Index
    directory: Path
    device: Device
    shelf: Shelf
    searcher: ThreadPoolExecutor
    """Runs long searches, one after the other."""
    poll_s: float
    """How often it looks for what others wrote."""
    observe: Callable[[float], None]
    """Told how many seconds a search took."""
    moving: asyncio.Lock = field(default_factory=asyncio.Lock)
    writing: bool = False
    """True while this process holds the lease: it wrote what there is to follow."""
    activating: bool = False
    """True while this process changes which snapshot is in use."""
    damage: str = ""
    """Why the index cannot be served; empty: it can."""
    refused: dict[str, str] = field(default_factory=dict)
    """Snapshots whose files are not what was written, and why."""
    followed_at: float = 0.0
    """When it last had all that there was, in seconds of `time.monotonic()`."""
    _collection: Collection | None = None
    _reader: LogReader | None = None
    _settled: asyncio.Event = field(default_factory=asyncio.Event)
    _advanced: asyncio.Event = field(default_factory=asyncio.Event)
    _kick: asyncio.Event = field(default_factory=asyncio.Event)
    _switching: asyncio.Task[None] | None = None
    _not_before: float = 0.0
    """When the snapshot in use is tried again that could not be, in seconds of `time.monotonic()`."""
    _task: asyncio.Task[None] | None = None

    @property
    def settled(self) -> bool:
        """True once the index was loaded, or found damaged."""
        return self._settled.is_set()

    @property
    def loaded(self) -> Collection | None:
        """The collection, None before it was loaded and while it is damaged."""
        return None if self.damage else self._collection

    @property
    def collection(self) -> Collection:
        """The collection.

        Raises:
            Unavailable: LOADING.
            NotAllowed: CHECKSUM_MISMATCH, it is damaged.
        """
        if self.damage:
            raise NotAllowed("CHECKSUM_MISMATCH", self.damage, subject=self.index.name)
        if self._collection is None:
            raise Unavailable("LOADING", f"`{self.index.name}` is being loaded", retry_after=_SOON)
        return self._collection

    def start(self) -> None:
        """Loads the index and follows it until `close`."""
        # A context of its own: it outlives the call that happened to open the index, and its trace.
        self._task = asyncio.create_task(self._follow(), name=f"follow {self.index.name}", context=Context())

    async def close(self) -> None:
        """Ends the following. Searches that run go on with what they have."""
        tasks = [task for task in (self._task, self._switching) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def wait_settled(self) -> None:
        """Returns when the index was loaded, or found damaged."""
        await self._settled.wait()

    async def search(self, search: Search, remaining_s: float | None) -> Found:
        """The nearest vectors of each query, at one moment of the index.

        Raises:
            TooLate: `min_sequence` was not there in time.
            Unavailable, NotAllowed: see `collection`.
        """
        if self.collection.sequence < search.min_sequence:
            await self._reach(search.min_sequence, remaining_s)
        view = self.collection.view()
        count = len(search.queries)
        with span("index.search", queries=count):
            began = time.perf_counter()
            if view.cost_s(count, search.filter is not None, search.top_k) <= INLINE_S:
                matches = view.search(search.queries, search.top_k, search.filter, search.include_attributes)
            else:
                matches = await self._in_thread(view, search)
            self.observe(time.perf_counter() - began)
        return Found(matches, view.snapshot_id, view.sequence)

    async def apply(self, entries: Sequence[Entry]) -> None:
        """Applies changes that are durable. For the holder of `moving`."""
        await _apply(self.collection, entries)
        self._passed()

    async def catch_up(self) -> None:
        """Applies all that is in the log. For the holder of `moving`."""
        collection = self.collection
        if self._reader is None or self._reader.sequence != collection.sequence:
            self._reader = LogReader(self.directory / "log", collection.sequence)
        while entries := await files.thread(self._reader.read):
            await _apply(collection, entries)
            self._passed()
        if self._reader.behind == 0:
            self.followed_at = time.monotonic()

    async def switch(self, snapshot_id: str) -> None:
        """Moves over to another snapshot between two searches, with all changes since.

        Raises:
            SnapshotCorrupt: its files are not what was written.
            Gone: it, or the log since, was removed meanwhile.
            Damaged: the log since cannot be read.
            OSError: the files cannot be read.
        """
        # Loaded and brought up to date beside the one in use, then once more while nothing moves.
        collection = await files.thread(self._stage, snapshot_id)
        async with self.moving:
            reader = LogReader(self.directory / "log", collection.sequence)
            while entries := await files.thread(reader.read):
                await _apply(collection, entries)
            before = self._collection
            if before is not None and collection.sequence < before.sequence:
                raise Damaged(f"the log ends at {collection.sequence}, but {before.sequence} was read before")
            self._collection, self._reader, self.damage = collection, reader, ""
            self.followed_at = time.monotonic()
            self._passed()
        self._settled.set()
        logger.info(
            "snapshot in use", index=self.index.name, snapshot=snapshot_id, sequence=collection.sequence
        )

    async def _follow(self) -> None:
        while True:
            pause_s = self.poll_s
            try:
                if self._collection is None or self.damage:
                    pause_s = await self._load()
                else:
                    await self._look()
            except (Gone, Damaged) as error:
                logger.warning("index is loaded again", index=self.index.name, reason=str(error))
                pause_s = await self._load()
            except OSError as error:
                logger.warning("index cannot be read", index=self.index.name, reason=str(error))
            except Exception:
                logger.exception("index cannot be followed", index=self.index.name)
                self.damage = f"`{self.index.name}` cannot be followed; the log says why"
                pause_s = _RETRY_S
            self._kick.clear()
            try:
                async with asyncio.timeout(pause_s):
                    await self._kick.wait()
            except TimeoutError:
                continue

    async def _look(self) -> None:
        if not self.writing:
            async with self.moving:
                if not self.writing:
                    await self.catch_up()
        if self.activating or (self._switching is not None and not self._switching.done()):
            return
        if time.monotonic() < self._not_before:
            return
        current = await files.thread(self.shelf.current)
        snapshot = self.collection.snapshot
        used = None if snapshot is None else snapshot.manifest.snapshot_id
        if current is not None and current != used and current not in self.refused and not self.activating:
            # A task of its own: what is written meanwhile must be found within the second all the same.
            self._switching = asyncio.create_task(self._switch_to_current(current), name="switch")

    async def _switch_to_current(self, snapshot_id: str) -> None:
        try:
            await self.switch(snapshot_id)
        except SnapshotCorrupt as error:
            self._refuse(snapshot_id, error)
        except (Gone, Damaged, OSError) as error:
            # Removed, or not readable now.
            self._not_before = time.monotonic() + _RETRY_S
            logger.warning(
                "snapshot not used", index=self.index.name, snapshot=snapshot_id, reason=str(error)
            )

    async def _load(self) -> float:
        """Loads the index by the first way that works. How long to wait before another look."""
        while True:
            current = await files.thread(self.shelf.current)
            reasons: list[str] = []
            for snapshot_id in (*await self._candidates(current), None):
                try:
                    await self._take(snapshot_id)
                except SnapshotCorrupt as error:
                    self._refuse(snapshot_id or "", error)
                    reasons.append(str(error))
                except (Gone, Damaged) as error:
                    reasons.append(str(error))
                else:
                    return self.poll_s
            if current == await files.thread(self.shelf.current):
                break  # else another one came into use while we read the old ones, which were removed
        reasons = [*self.refused.values(), *reasons]
        damage = f"`{self.index.name}` is damaged: {'; '.join(dict.fromkeys(reasons))}"
        if damage != self.damage:
            logger.error("index damaged", index=self.index.name, reasons=reasons)
        self.damage = damage
        self._settled.set()
        return _RETRY_S

    async def _candidates(self, current: str | None) -> list[str]:
        """The snapshots there are, the one in use first, then the newest."""
        ids = [each.snapshot_id for each in await files.thread(self.shelf.manifests)]
        order = ([current] if current in ids else []) + [each for each in ids if each != current]
        return [each for each in order if each not in self.refused]

    async def _take(self, snapshot_id: str | None) -> None:
        if snapshot_id is not None:
            await self.switch(snapshot_id)
            return
        collection = await files.thread(self._stage, None)
        async with self.moving:
            self._collection, self._reader, self.damage = collection, None, ""
            self.followed_at = time.monotonic()
            self._passed()
        self._settled.set()

    def _stage(self, snapshot_id: str | None) -> Collection:
        """A collection from a snapshot and the log since. Blocks; nobody else has it yet."""
        snapshot = None
        if snapshot_id is not None:
            manifest = self.shelf.manifest(snapshot_id)
            if manifest is None:
                raise Gone(f"there is no snapshot {snapshot_id}")
            try:
                snapshot = load(self.index, self.shelf.path(snapshot_id), manifest, self.device)
            except SnapshotCorrupt as error:
                if self.shelf.manifest(snapshot_id) is None:
                    raise Gone(f"snapshot {snapshot_id} was removed") from error
                raise
        collection = Collection(self.index, snapshot, self.device)
        reader = LogReader(self.directory / "log", collection.sequence)
        while entries := reader.read():
            for entry in entries:
                collection.apply(entry)
        return collection

    def _refuse(self, snapshot_id: str, error: SnapshotCorrupt) -> None:
        self.refused[snapshot_id] = str(error)
        logger.error("snapshot refused", index=self.index.name, snapshot=snapshot_id, reason=str(error))

    async def _reach(self, sequence: int, remaining_s: float | None) -> None:
        try:
            async with asyncio.timeout(remaining_s):
                while self.collection.sequence < sequence:
                    self._kick.set()
                    await self._advanced.wait()
        except TimeoutError:
            raise TooLate(
                "DEADLINE_EXCEEDED",
                f"`{self.index.name}` is at {self.collection.sequence} and did not reach {sequence} in time",
            ) from None

    def _passed(self) -> None:
        self._advanced.set()
        self._advanced = asyncio.Event()

    async def _in_thread(self, view: View, search: Search) -> list[Matches]:
        """Searches query by query, or a few at a time, so that cancelled work stops soon."""
        loop = asyncio.get_running_loop()
        count = len(search.queries)
        each_s = max(view.cost_s(1, search.filter is not None, search.top_k), 1e-6)
        step = max(1, int(_CHUNK_S / each_s))
        matches: list[Matches] = []
        for start in range(0, count, step):
            matches += await loop.run_in_executor(
                self.searcher,
                view.search,
                search.queries[start : start + step],
                search.top_k,
                search.filter,
                search.include_attributes,
            )
        return matches


async def _apply(collection: Collection, entries: Sequence[Entry]) -> None:
    """Applies changes a few at a time, with room for searches in between."""
    until = time.monotonic() + _APPLY_S
    for entry in entries:
        collection.apply(entry)
        if time.monotonic() > until:
            await asyncio.sleep(0)
            until = time.monotonic() + _APPLY_S
