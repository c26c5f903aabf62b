"""Building snapshots, on the replica that holds the lease, and moving searches over to them."""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections.abc import Sequence
from contextvars import Context
from dataclasses import dataclass, field, replace

import structlog

from trunkline_hop.clock import Clock
from trunkline_hop.errors import Fault, NotAllowed, NotFound
from trunkline_hop.pages import page
from trunkline_retrieval import files
from trunkline_retrieval.build import BuildCancelled, BuildFailed, build
from trunkline_retrieval.log import Gone
from trunkline_retrieval.manifest import Manifest
from trunkline_retrieval.records import Damaged
from trunkline_retrieval.replica import Replica
from trunkline_retrieval.rows import Rows
from trunkline_retrieval.shelf import Build, BuildFile, State
from trunkline_retrieval.snapshot import SnapshotCorrupt
from trunkline_retrieval.writer import Elsewhere, Writer

_UNMERGED_SHARE = 0.1
"""A snapshot is also worth its build when this share of the index has changed since."""

logger = structlog.get_logger("trunkline_retrieval")


@dataclass(slots=True, eq=False)
class Builds:
    """The snapshots of one index.

    Args:
        replica: of which.
        writer: whose lease is needed to change something.
        clock: for their times.
        after: changes since the last snapshot that start a build by themselves.
        keep: how many of the newest snapshots are kept.
        turn: held by the build that runs; builds have one core, so one runs at a time.
    """

    replica: Replica
    writer: Writer
    clock: Clock
    after: int
    keep: int
    turn: asyncio.Semaphore
    _running: dict[asyncio.Task[None], threading.Event] = field(default_factory=dict)
    _changing: asyncio.Lock = field(default_factory=asyncio.Lock)
    _not_before: int = 0
    """The sequence before which nothing is built by itself, after a build that failed."""

    async def get(self, snapshot_id: str) -> Build:
        """One snapshot. Raises NotFound, SNAPSHOT_UNKNOWN."""
        with files.faults():
            found = await files.thread(self.replica.shelf.build, snapshot_id)
            current = await files.thread(self.replica.shelf.current)
        if found is None:
            raise self._unknown(snapshot_id)
        return self._seen(found, current)

    async def list(self, page_size: int, page_token: str) -> tuple[Sequence[Build], str]:
        """A page of the snapshots, newest first, and the token of the next one, empty on the last.

        Raises:
            BadRequest: a token that no page gave.
        """
        with files.faults():
            found = await files.thread(self.replica.shelf.builds)
            current = await files.thread(self.replica.shelf.current)
        order = sorted(found.values(), key=_age, reverse=True)
        seen = [self._seen(each, current) for each in order]
        return page(seen, _age, page_size, page_token, ("snapshots", self.replica.index.uid))

    async def start(self, request_id: str = "", *, hold: bool = False) -> Build:
        """Begins to build a snapshot of all that was written so far.

        Raises:
            Elsewhere, and what else `Writer.acquire` raises.
        """
        await self.writer.acquire()
        async with self.replica.moving:
            if request_id:
                known = await files.thread(self.replica.shelf.builds)
                for each in known.values():
                    if each.request_id == request_id:
                        return self._seen(each, await files.thread(self.replica.shelf.current))
            collection = self.replica.collection
            now = self.clock.now()
            begun = Build(
                snapshot_id=f"{now:%Y%m%dt%H%M%S}-{uuid.uuid4().hex[:8]}",
                sequence=collection.sequence,
                vector_count=collection.vector_count,
                create_time=now,
                hold=hold,
                request_id=request_id,
            )
            rows = collection.rows()
            await self.writer.rotate()
            with files.faults():
                file = await files.thread(self.replica.shelf.begin, begun)
            cancelled = threading.Event()
            task = asyncio.create_task(
                self._run(file, rows, cancelled), name=f"build {begun.snapshot_id}", context=Context()
            )
            self._running[task] = cancelled
            task.add_done_callback(self._ended)
        return begun

    async def activate(self, snapshot_id: str) -> Build:
        """Moves searches over to a snapshot that is READY.

        Raises:
            NotFound: SNAPSHOT_UNKNOWN.
            NotAllowed: SNAPSHOT_NOT_READY, CHECKSUM_MISMATCH.
            Elsewhere, and what else `Writer.acquire` raises.
        """
        await self.writer.acquire()
        found = await self.get(snapshot_id)
        subject = f"{self.replica.index.name}/snapshots/{snapshot_id}"
        if found.manifest is None or found.state is State.FAILED:
            reason = "CHECKSUM_MISMATCH" if snapshot_id in self.replica.refused else "SNAPSHOT_NOT_READY"
            raise NotAllowed(reason, f"the snapshot is {found.state.name}: {found.error}", subject=subject)
        if found.state is not State.ACTIVE:
            try:
                changing = asyncio.create_task(self._activate(snapshot_id), context=Context())
                changing.add_done_callback(_seen)
                # Whoever asked may leave: half an activation is none.
                await asyncio.shield(changing)
            except SnapshotCorrupt as error:
                self.replica.refused[snapshot_id] = str(error)
                raise NotAllowed("CHECKSUM_MISMATCH", str(error), subject=subject) from error
            except (Gone, Damaged) as error:
                raise NotAllowed("SNAPSHOT_NOT_READY", str(error), subject=subject) from error
            await self._prune()
        return await self.get(snapshot_id)

    def consider(self) -> None:
        """Begins a build when enough has changed since the last one."""
        collection = self.replica.loaded
        if collection is None or self._running or not self.writer.held or self.writer.leaving:
            return
        enough = max(self.after, int(_UNMERGED_SHARE * collection.vector_count))
        if collection.unmerged_count > enough and collection.sequence >= self._not_before:
            task = asyncio.create_task(self._start_by_itself(), name="start a build", context=Context())
            self._running[task] = threading.Event()
            task.add_done_callback(self._ended)

    async def close(self) -> None:
        """Cancels what is being built, and returns when it has stopped."""
        while self._running:
            for cancelled in self._running.values():
                cancelled.set()
            await asyncio.wait(set(self._running), return_when=asyncio.FIRST_COMPLETED)

    async def _start_by_itself(self) -> None:
        try:
            await self.start()
        except (Fault, Elsewhere) as reason:
            logger.warning("no build begun", index=self.replica.index.name, reason=str(reason))

    async def _run(self, file: BuildFile, rows: Rows, cancelled: threading.Event) -> None:
        error = "The server met an unexpected error; its log has it."
        built = False
        try:
            async with self.turn:
                manifest = await files.thread(self._build, file, rows, cancelled)
            await self.writer.check()
            await files.thread(self.replica.shelf.commit, manifest)
            built = True
            logger.info(
                "snapshot built",
                index=self.replica.index.name,
                snapshot=manifest.snapshot_id,
                type=manifest.type.name,
                vectors=manifest.vector_count,
                recall=manifest.recall,
            )
            if not file.build.hold:
                await self._activate(manifest.snapshot_id)
            await self._prune()
        except BuildFailed as failed:
            error = str(failed)
        except BuildCancelled:
            error = "The replica that built it was stopped. Build another."
        except Elsewhere:
            error = "Another replica took over the index. Build another."
        except OSError as failed:
            error = files.fault_of(failed).message
            logger.warning("build failed", index=self.replica.index.name, reason=str(failed))
        except SnapshotCorrupt as failed:
            self.replica.refused[file.build.snapshot_id] = str(failed)
            logger.error("snapshot refused", index=self.replica.index.name, reason=str(failed))
        except (Gone, Damaged, Fault) as failed:
            logger.warning("snapshot not in use", index=self.replica.index.name, reason=str(failed))
        except Exception:
            logger.exception("build failed", index=self.replica.index.name)
        finally:
            await files.thread(self._end, file, "" if built else error)
        if not built:
            self._not_before = file.build.sequence + self.after
            logger.warning(
                "no snapshot", index=self.replica.index.name, snapshot=file.build.snapshot_id, reason=error
            )

    def _build(self, file: BuildFile, rows: Rows, cancelled: threading.Event) -> Manifest:
        if cancelled.is_set():
            raise BuildCancelled
        begun = file.build
        return build(
            self.replica.index,
            rows,
            begun.sequence,
            begun.snapshot_id,
            self.replica.shelf.path(begun.snapshot_id),
            file.progress,
            cancelled,
            now=self.clock.now,
        )

    def _end(self, file: BuildFile, error: str) -> None:
        try:
            if error:
                file.fail(error, self.clock.now())
                self.replica.shelf.discard(file.build.snapshot_id)
        except OSError as failed:
            # Unlocked and without a manifest it counts as failed all the same.
            logger.warning("end of a build not noted", index=self.replica.index.name, reason=str(failed))
        finally:
            file.close()

    async def _activate(self, snapshot_id: str) -> None:
        async with self._changing:
            self.replica.activating = True
            try:
                await self.replica.switch(snapshot_id)
                await self.writer.check()
                await files.thread(self.replica.shelf.set_current, snapshot_id)
            except OSError as error:
                raise files.fault_of(error) from error
            finally:
                self.replica.activating = False

    async def _prune(self) -> None:
        with files.faults():
            floor = await files.thread(self.replica.shelf.prune, self.keep)
            await self.writer.trim(floor)

    def _seen(self, found: Build, current: str | None) -> Build:
        """A build as this replica sees it."""
        if found.snapshot_id in self.replica.refused:
            return replace(found, state=State.FAILED, error=self.replica.refused[found.snapshot_id])
        if found.state is State.READY and found.snapshot_id == current:
            return replace(found, state=State.ACTIVE)
        return found

    def _unknown(self, snapshot_id: str) -> NotFound:
        name = f"{self.replica.index.name}/snapshots/{snapshot_id}"
        return NotFound(
            "SNAPSHOT_UNKNOWN", f"there is no snapshot `{name}`", resource_type="snapshot", resource_name=name
        )

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.pop(task, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("build ended unexpectedly", index=self.replica.index.name, exc_info=error)
        self.consider()  # what was written meanwhile may be enough for the next


def _seen(done: asyncio.Task[None]) -> None:
    """Of an outcome that its caller may no longer be there for."""
    if not done.cancelled():
        done.exception()


def _age(build: Build) -> str:
    """Sorts builds by when they began."""
    return f"{build.create_time.isoformat(timespec='microseconds')} {build.snapshot_id}"
