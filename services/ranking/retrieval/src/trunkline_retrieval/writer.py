"""Writing an index: one replica at a time, many requests with one flush to disk."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from contextvars import Context
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import structlog

from trunkline_hop.errors import Fault, Internal, NotAllowed, NotFound, Unavailable
from trunkline_hop.telemetry import span
from trunkline_retrieval import files, lease
from trunkline_retrieval.changes import Change, Entry, Upsert
from trunkline_retrieval.lease import Lease, LeaseLost
from trunkline_retrieval.log import Gone, LogWriter, segments, trim
from trunkline_retrieval.records import Damaged
from trunkline_retrieval.replica import Replica
from trunkline_retrieval.storage import DirectoryStorage

_GROUP_BYTES = 32 * 2**20
"""Most bytes of vectors that one flush takes with it, so that the first of many need not wait for all."""
_SOON = timedelta(milliseconds=100)

logger = structlog.get_logger("trunkline_retrieval")


class Elsewhere(Exception):
    """Another process holds the lease.

    Attributes:
        address: where it is called; empty when that is not known yet.
    """

    def __init__(self, address: str) -> None:
        super().__init__(address)
        self.address = address

    def fault(self, name: str) -> Unavailable:
        """What a caller is told who cannot be passed on."""
        return Unavailable("NOT_WRITER", f"another replica writes `{name}`", retry_after=_SOON)


@dataclass(slots=True)
class _Waiting:
    change: Change
    done: asyncio.Future[int]


@dataclass(slots=True, eq=False)
class Writer:
    """The lease of one index and what is done under it.

    Args:
        replica: whose changes it writes.
        storage: which knows whether the index still exists.
        address: where other replicas call this process.
        wrote: called after changes were applied, outside of any lock.
    """

    replica: Replica
    storage: DirectoryStorage
    address: Callable[[], str]
    wrote: Callable[[], None] = lambda: None
    leaving: bool = False
    """True when the process stops: a lease that a last call needs is given back after it."""
    _lease: Lease | None = None
    _log: LogWriter | None = None
    _taking: asyncio.Task[None] | None = None
    _waiting: list[_Waiting] = field(default_factory=list)
    _committing: asyncio.Task[None] | None = None

    @property
    def held(self) -> bool:
        """True while this process may write."""
        return self._lease is not None

    async def acquire(self) -> None:
        """Takes the lease unless it is held already, and catches up with all that was written before.

        Raises:
            Elsewhere: another process holds it.
            NotFound: INDEX_UNKNOWN, it was deleted.
            NotAllowed: CHECKSUM_MISMATCH, it is damaged.
            Unavailable, Overloaded: see `files.fault_of`; LOADING.
        """
        if self._lease is not None:
            return
        if self._taking is None or self._taking.done():
            self._taking = asyncio.create_task(self._take(), name="take the lease", context=Context())
            self._taking.add_done_callback(_seen)
        await asyncio.shield(self._taking)

    async def write(self, change: Change) -> int:
        """Makes a change durable, then visible here; its sequence number.

        Raises:
            As `acquire`. After Unavailable the change is there or is not.
        """
        await self.acquire()
        waiting = _Waiting(change, asyncio.get_running_loop().create_future())
        waiting.done.add_done_callback(_seen)
        self._waiting.append(waiting)
        if self._committing is None or self._committing.done():
            self._committing = asyncio.create_task(self._commit(), name="commit", context=Context())
            self._committing.add_done_callback(_seen)
        with span("index.commit"):
            # Whoever asked may leave; the others of the group did not.
            return await asyncio.shield(waiting.done)

    async def release(self) -> None:
        """Writes what waits, then lets the next process have the lease."""
        self.leaving = True
        if self._taking is not None:
            await asyncio.wait({self._taking})
        if self._committing is not None:
            await asyncio.wait({self._committing})
        async with self.replica.moving:
            await files.thread(self._let_go)

    async def rotate(self) -> None:
        """Begins a new segment of the log. For the holder of `moving` and of the lease."""
        if self._log is None:
            raise Elsewhere("")
        async with self._giving_up():
            await files.thread(self._log.rotate)

    async def trim(self, floor: int) -> None:
        """Removes what no snapshot needs of the log."""
        async with self.replica.moving:
            if self._log is not None:
                await files.thread(trim, self.replica.directory / "log", floor)

    async def check(self) -> None:
        """Raises LeaseLost when somebody else writes now, Elsewhere when the lease was given back."""
        held = self._lease
        if held is None:
            raise Elsewhere("")
        await files.thread(held.check)

    async def delete(self) -> None:
        """Ends the index, also one that is damaged.

        Raises:
            Elsewhere, NotFound, Unavailable: as `acquire`.
        """
        replica = self.replica
        async with replica.moving:
            with files.faults():
                # Without a claim: it must be possible on a full disk.
                held = self._lease or await files.thread(self._locked, Lease.lock_only)
                if held is None:
                    raise await self._elsewhere()
                self._lease = held
                await files.thread(self.storage.delete, replica.index)
            group, self._waiting = self._waiting, []
            _refuse(group, unknown_index(replica.index.name))
            await files.thread(self._let_go)

    async def _take(self) -> None:
        replica = self.replica
        await replica.wait_settled()
        async with replica.moving:
            if self._lease is not None:
                return
            reached = replica.collection.sequence
            try:
                with files.faults():
                    taken = await files.thread(self._take_over, reached)
                    if taken is None:
                        raise await self._elsewhere()
                self._lease, self._log = taken
                await replica.catch_up()
                if replica.collection.sequence != self._log.sequence:
                    raise Damaged(
                        f"the log ends at {self._log.sequence}, but {replica.collection.sequence} was read"
                    )
            except Damaged as error:
                await files.thread(self._let_go)
                raise NotAllowed("CHECKSUM_MISMATCH", str(error), subject=replica.index.name) from error
            except Gone as error:
                await files.thread(self._let_go)
                raise Unavailable("LOADING", str(error), retry_after=_SOON) from error
            except BaseException:
                await files.thread(self._let_go)
                raise
            replica.writing = True
            logger.info(
                "lease taken", index=replica.index.name, epoch=self._lease.epoch, sequence=self._log.sequence
            )

    def _take_over(self, reached: int) -> tuple[Lease, LogWriter] | None:
        epoch = max((each.epoch for each in segments(self.replica.directory / "log")), default=0)
        taken = self._locked(lambda directory: Lease.take(directory, self.address(), epoch))
        if taken is None:
            return None
        try:
            log = LogWriter.begin(self.replica.directory / "log", taken, reached)
            try:
                self.replica.shelf.sweep()
            except BaseException:
                log.close()
                raise
        except BaseException:
            taken.release()
            raise
        return taken, log

    def _locked(self, take: Callable[[Path], Lease | None]) -> Lease | None:
        replica = self.replica
        taken = take(replica.directory)
        # Looked up under the lease, which whoever deletes the index holds as well.
        declared = self.storage.find(replica.index.id)
        if declared is None or declared.uid != replica.index.uid:
            if taken is not None:
                taken.release()
            raise unknown_index(replica.index.name)
        return taken

    async def _elsewhere(self) -> Elsewhere:
        """Where the lease is. Our own address is that of a lease we had before: the next holder just begins."""
        holder = await files.thread(lease.holder, self.replica.directory)
        address = "" if holder is None else holder.address
        return Elsewhere("" if address == self.address() else address)

    async def _commit(self) -> None:
        while self._waiting:
            async with self.replica.moving:
                group = self._group()
                try:
                    await self._write(group)
                except (Fault, Elsewhere) as reason:
                    _refuse(group, reason)
                except Exception:
                    # Durable, but not in memory: what is in memory is not to be written on.
                    logger.exception("changes not applied", index=self.replica.index.name)
                    await files.thread(self._let_go)
                    self.replica.damage = f"`{self.replica.index.name}` is loaded again"
                    _refuse(group, Internal("INTERNAL", "a durable change could not be applied"))
            self.wrote()
            if self.leaving and not self._waiting:
                # Within the loop: a write that comes meanwhile still finds the lease, and this task to take it on.
                async with self.replica.moving:
                    await files.thread(self._let_go)

    async def _write(self, group: list[_Waiting]) -> None:
        if self._log is None:
            raise Elsewhere("")
        first = self.replica.collection.sequence + 1
        entries = [Entry(first + n, each.change) for n, each in enumerate(group)]
        async with self._giving_up():
            await files.thread(self._log.append, entries)
        await self.replica.apply(entries)
        for waiting, entry in zip(group, entries, strict=True):
            if not waiting.done.done():
                waiting.done.set_result(entry.sequence)

    def _group(self) -> list[_Waiting]:
        """The changes that are written together, the oldest first."""
        size = count = 0
        for waiting in self._waiting:
            size += _size(waiting.change)
            count += 1
            if size > _GROUP_BYTES:
                break
        group, self._waiting = self._waiting[:count], self._waiting[count:]
        return group

    def _fail(self, fault: Fault) -> None:
        group, self._waiting = self._waiting, []
        _refuse(group, fault)

    @asynccontextmanager
    async def _giving_up(self) -> AsyncIterator[None]:
        """Gives the lease up when the log cannot be written: what is in the file is then for the next to say."""
        try:
            yield
        except OSError as error:
            logger.warning("lease given up", index=self.replica.index.name, reason=str(error))
            await files.thread(self._let_go)
            if isinstance(error, LeaseLost):
                raise Elsewhere("") from error
            raise files.fault_of(error) from error

    def _let_go(self) -> None:
        if self._log is not None:
            self._log.close()
        if self._lease is not None:
            self._lease.release()
        self._log = self._lease = None
        self.replica.writing = False


def _refuse(group: list[_Waiting], reason: Fault | Elsewhere) -> None:
    for waiting in group:
        if not waiting.done.done():
            waiting.done.set_exception(reason)


def _size(change: Change) -> int:
    return change.vectors.nbytes if isinstance(change, Upsert) else 0


def _seen(done: asyncio.Future[int] | asyncio.Task[None]) -> None:
    """Of an outcome that its callers may no longer be there for."""
    if not done.cancelled():
        done.exception()


def unknown_index(name: str) -> NotFound:
    """There is no such index."""
    return NotFound("INDEX_UNKNOWN", f"there is no index `{name}`", resource_type="index", resource_name=name)
