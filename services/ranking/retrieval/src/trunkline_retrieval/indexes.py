"""All indexes, as this replica has them."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context
from dataclasses import dataclass, field, replace

import structlog

from trunkline_hop.clock import Clock
from trunkline_hop.errors import AlreadyExists
from trunkline_hop.pages import page
from trunkline_retrieval import files
from trunkline_retrieval.builds import Builds
from trunkline_retrieval.device import Device
from trunkline_retrieval.index import Index
from trunkline_retrieval.replica import Replica
from trunkline_retrieval.shelf import Shelf
from trunkline_retrieval.storage import DirectoryStorage
from trunkline_retrieval.writer import Writer, unknown_index

logger = structlog.get_logger("trunkline_retrieval")


@dataclass(frozen=True, slots=True)
class Open:
    """An index and what is done with it here."""

    replica: Replica
    writer: Writer
    builds: Builds


@dataclass(slots=True, eq=False)
class Indexes:
    """Every index that exists, opened; those that others create and delete are noticed.

    Args:
        storage: where they are kept.
        device: where snapshots are searched.
        clock: for what is stored.
        address: where other replicas call this process.
        poll_s: how often it looks for what others did.
        snapshot_after, snapshots_kept: see `Builds`.
    """

    storage: DirectoryStorage
    device: Device
    clock: Clock
    address: Callable[[], str]
    poll_s: float
    snapshot_after: int
    snapshots_kept: int
    observe: Callable[[str], Callable[[float], None]]
    """By index, what is told how many seconds a search took."""
    loaded: bool = False
    """True once every index that existed at the start was loaded, or found damaged."""
    _open: dict[str, Open] = field(default_factory=dict)
    _closing: set[asyncio.Task[None]] = field(default_factory=set)
    _opening: asyncio.Lock = field(default_factory=asyncio.Lock)
    _turn: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(1))
    _searcher: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "search"))

    @property
    def open(self) -> Sequence[Open]:
        """Those that are open now, by id."""
        return [self._open[key] for key in sorted(self._open)]

    async def follow(self) -> None:
        """Opens what exists, then what others create, and closes what they delete."""
        while True:
            try:
                declared = await files.thread(self.storage.indexes)
                async with self._opening:
                    for index_id in set(self._open) - set(declared):
                        # Created since the look, perhaps.
                        await self._refresh(index_id)
                    for index in declared.values():
                        known = self._open.get(index.id)
                        if known is None or known.replica.index.uid != index.uid:
                            await self._refresh(index.id)
            except OSError as error:
                logger.warning("indexes cannot be listed", reason=str(error))
            else:
                if not self.loaded:
                    await asyncio.gather(*(each.replica.wait_settled() for each in self.open))
                    self.loaded = True
            await asyncio.sleep(self.poll_s)

    async def get(self, index_id: str) -> Open:
        """One index, also when another replica created it just now.

        Raises:
            NotFound: INDEX_UNKNOWN.
            Unavailable: STORE_UNREACHABLE.
        """
        found = self._open.get(index_id)
        if found is None:
            return await self.look(index_id)
        if self.loaded:
            # Created since: whoever asks first waits for it in `look`, and so does who asks a moment later.
            await found.replica.wait_settled()
        return found

    async def look(self, index_id: str) -> Open:
        """One index as it is declared now. Raises as `get`."""
        with files.faults():
            async with self._opening:
                await self._refresh(index_id)
        found = self._open.get(index_id)
        if found is None:
            raise unknown_index(f"indexes/{index_id}")
        await found.replica.wait_settled()
        return found

    async def list(self, page_size: int, page_token: str) -> tuple[Sequence[Open], str]:
        """A page of the indexes by name, and the token of the next one, empty on the last.

        Raises:
            BadRequest: a token that no page gave.
        """
        return page(self.open, lambda each: each.replica.index.id, page_size, page_token, ("indexes",))

    async def create(self, wanted: Index) -> Open:
        """Declares an index.

        Raises:
            AlreadyExists: RESOURCE_EXISTS.
            Unavailable, Overloaded: see `files.fault_of`.
        """
        index = replace(wanted, uid=uuid.uuid4().hex, create_time=self.clock.now())
        with files.faults():
            if not await files.thread(self.storage.create, index):
                raise AlreadyExists(
                    "RESOURCE_EXISTS",
                    f"there is an index `{index.name}` already",
                    resource_type="index",
                    resource_name=index.name,
                )
        return await self.look(index.id)

    async def delete(self, found: Open) -> None:
        """Deletes an index with all that it holds.

        Raises:
            Elsewhere, NotFound, Unavailable: see `Writer.delete`.
        """
        await found.builds.close()
        await found.writer.delete()
        async with self._opening:
            await self._refresh(found.replica.index.id)
        with files.faults():
            await files.thread(self.storage.discard, found.replica.index)

    async def leave(self, draining: asyncio.Event) -> None:
        """When the process begins to stop: stops what is being built, and gives back every lease."""
        await draining.wait()

        async def give_back(each: Open) -> None:
            await each.builds.close()
            await each.writer.release()

        async with asyncio.TaskGroup() as group:
            for each in self.open:
                group.create_task(give_back(each))

    async def aclose(self) -> None:
        """Gives back every lease and closes every index."""
        for index_id in list(self._open):
            self._retire(index_id)
        while self._closing:
            await asyncio.wait(set(self._closing))
        self._searcher.shutdown(wait=False, cancel_futures=True)

    async def _refresh(self, index_id: str) -> None:
        """Opens or closes an index, as it is declared now. For the holder of `_opening`."""
        declared = await files.thread(self.storage.find, index_id)
        known = self._open.get(index_id)
        if known is not None and (declared is None or declared.uid != known.replica.index.uid):
            self._retire(index_id)
            known = None
        if declared is not None and known is None:
            directory = await files.thread(self.storage.prepare, declared)
            shelf = Shelf(directory, declared.uid)
            replica = Replica(
                declared,
                directory,
                self.device,
                shelf,
                self._searcher,
                self.poll_s,
                self.observe(declared.id),
            )
            writer = Writer(replica, self.storage, self.address)
            builds = Builds(replica, writer, self.clock, self.snapshot_after, self.snapshots_kept, self._turn)
            writer.wrote = builds.consider
            self._open[index_id] = Open(replica, writer, builds)
            replica.start()

    def _retire(self, index_id: str) -> None:
        """Closes an index, whose build may take a while to end, beside what else there is to do."""
        closing = asyncio.create_task(_close(self._open.pop(index_id)), context=Context())
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)


async def _close(closing: Open) -> None:
    await closing.builds.close()
    await closing.writer.release()
    await closing.replica.close()
