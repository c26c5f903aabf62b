"""Versions: the immutable files of a model, and the stage that each is in."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from pydantic import TypeAdapter

from trunkline_hop.clock import Clock
from trunkline_hop.errors import BadRequest
from trunkline_hop.pages import page_cursor, page_size, page_token
from trunkline_registry.artifacts import Artifacts
from trunkline_registry.formats import Format
from trunkline_registry.models import Model, check_etag
from trunkline_registry.names import model_name, unknown_model, unknown_version, version_name
from trunkline_registry.pages import Page, Rows
from trunkline_registry.requests import Answers, RequestKey, once
from trunkline_registry.stages import Stage, check_transition
from trunkline_registry.store import Store
from trunkline_registry.texts import check_labels, check_text


@dataclass(frozen=True, slots=True)
class ModelFile:
    """One file of a version."""

    path: str
    """Relative, with forward slashes."""
    sha256: str
    """64 lower-case hexadecimal digits."""
    size_bytes: int


@dataclass(frozen=True, slots=True)
class NewVersion:
    """A version that is to be made."""

    format: Format
    files: Sequence[tuple[str, str]]
    """Path and SHA-256 of each."""
    card: str
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """A version as it is stored. Only the last three change."""

    model_id: str
    version: int
    """Counted from 1 within its model."""
    format: Format
    files: tuple[ModelFile, ...]
    """By path."""
    digest: str
    size_bytes: int
    card: str
    labels: Mapping[str, str]
    create_time: datetime
    stage: Stage
    stage_time: datetime
    etag: str

    @property
    def name(self) -> str:
        """`models/{model}/versions/{version}`."""
        return version_name(self.model_id, self.version)


@dataclass(frozen=True, slots=True)
class Transition:
    """What a change of stage did."""

    version: ModelVersion
    archived: ModelVersion | None
    """The version that was in production before, if this archived one."""


class VersionRows(Answers, Protocol):
    """The versions in the store, within a transaction."""

    async def model(self, model_id: str) -> Model | None: ...

    async def lock_model(self, model_id: str) -> Model | None: ...

    async def insert_version(
        self, model_id: str, new: NewVersion, files: tuple[ModelFile, ...], digest: str, now: datetime
    ) -> ModelVersion:
        """The next version of a model that this transaction has locked, in DEVELOPMENT."""
        ...

    async def version(self, model_id: str, version: int) -> ModelVersion | None: ...

    async def in_production(self, model_id: str) -> ModelVersion | None: ...

    async def versions(
        self, model_id: str, before: int | None, stage: Stage | None, limit: int
    ) -> Rows[ModelVersion]:
        """Versions of a model, newest first, those before `before`."""
        ...

    async def move_version(self, version: ModelVersion, stage: Stage, now: datetime) -> ModelVersion:
        """The version in its new stage, with a new etag."""
        ...

    async def publish(self, model_id: str, serving: tuple[ModelVersion, ...]) -> None:
        """Tells the watchers which versions of the model serve from this transaction on."""
        ...


_VERSION = TypeAdapter(ModelVersion)
_TRANSITION = TypeAdapter(Transition)


@dataclass(frozen=True, slots=True)
class Versions:
    """What can be done with versions."""

    store: Store[VersionRows]
    artifacts: Artifacts
    clock: Clock

    async def create(self, model_id: str, new: NewVersion, request: RequestKey | None) -> ModelVersion:
        """The next version of a model.

        Raises:
            BadRequest: a text or a set of paths that cannot be stored.
            NotFound: MODEL_UNKNOWN, or ARTIFACT_UNKNOWN for a file that is not stored.
            NotAllowed: MODEL_REFUSED, the files are not what the format says or could run code.
        """
        check_text("model_version.card", new.card)
        check_labels("model_version.labels", new.labels)
        digests = check_paths(new.files)
        # Before the transaction: reading files must not hold a connection, and stored files never change.
        sizes = await self.artifacts.check_files(new.format, digests)
        files = tuple(ModelFile(path, digests[path], sizes[path]) for path in sorted(digests))
        async with self.store.transaction("create_version") as rows:
            return await once(rows, request, _VERSION, lambda: self._create(rows, model_id, new, files))

    async def _create(
        self, rows: VersionRows, model_id: str, new: NewVersion, files: tuple[ModelFile, ...]
    ) -> ModelVersion:
        if await rows.lock_model(model_id) is None:
            raise unknown_model(model_name(model_id))
        return await rows.insert_version(model_id, new, files, digest_of(files), self.clock.now())

    async def get(self, model_id: str, version: int) -> ModelVersion:
        """The version.

        Raises:
            NotFound: MODEL_UNKNOWN, VERSION_UNKNOWN.
        """
        async with self.store.transaction("get_version") as rows:
            return await _existing(rows, model_id, version)

    async def list(self, model_id: str, stage: Stage | None, size: int, token: str) -> Page[ModelVersion]:
        """One page of versions, newest first; with a stage only those in it.

        Raises:
            NotFound: MODEL_UNKNOWN.
            BadRequest: the token is none of this list.
        """
        query = ("versions", model_id, stage.name if stage else "")
        before = int(page_cursor(query, token)) if token else None
        async with self.store.transaction("list_versions") as rows:
            found = await rows.versions(model_id, before, stage, page_size(size))
            if not found.items and await rows.model(model_id) is None:
                raise unknown_model(model_name(model_id))
        return Page(found.items, page_token(query, str(found.items[-1].version)) if found.more else "")

    async def transition(
        self, model_id: str, version: int, stage: Stage, etag: str, request: RequestKey | None
    ) -> Transition:
        """The version in its new stage. The one that was in production makes room for it.

        Raises:
            NotFound: MODEL_UNKNOWN, VERSION_UNKNOWN.
            Conflict: ETAG_MISMATCH, somebody moved it first.
            NotAllowed: STAGE_POLICY, there is no way from its stage to the new one.
        """
        async with self.store.transaction("transition_version") as rows:
            return await once(
                rows, request, _TRANSITION, lambda: self._transition(rows, model_id, version, stage, etag)
            )

    async def _transition(
        self, rows: VersionRows, model_id: str, version: int, stage: Stage, etag: str
    ) -> Transition:
        await rows.lock_model(model_id)  # of a model's transitions only one is under way
        current = await _existing(rows, model_id, version)
        check_etag("model_version", current.name, etag, current.etag)
        check_transition(current.name, current.stage, stage)
        now = self.clock.now()
        archived = None
        if stage is Stage.PRODUCTION and (serving := await rows.in_production(model_id)):
            archived = await rows.move_version(serving, Stage.ARCHIVED, now)
        moved = await rows.move_version(current, stage, now)
        if Stage.PRODUCTION in (current.stage, stage):
            await rows.publish(model_id, (moved,) if stage is Stage.PRODUCTION else ())
        return Transition(moved, archived)


async def _existing(rows: VersionRows, model_id: str, version: int) -> ModelVersion:
    found = await rows.version(model_id, version)
    if found is None:
        if await rows.model(model_id) is None:
            raise unknown_model(model_name(model_id))
        raise unknown_version(version_name(model_id, version))
    return found


def digest_of(files: Sequence[ModelFile]) -> str:
    """SHA-256 over the sorted lines `{sha256}  {path}` with line ends, as `sha256sum` writes them."""
    lines = sorted(f"{file.sha256}  {file.path}\n" for file in files)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def check_paths(files: Sequence[tuple[str, str]]) -> dict[str, str]:
    """SHA-256 by path, when the paths can be the files of one directory.

    Raises:
        BadRequest: a path comes twice, or is the directory of another.
    """
    digests: dict[str, str] = {}
    for index, (path, sha256) in enumerate(files):
        if path in digests:
            raise BadRequest.field(f"model_version.files[{index}].path", "must not come twice")
        digests[path] = sha256
    for index, (path, _) in enumerate(files):
        parts = path.split("/")
        for depth in range(1, len(parts)):
            if (directory := "/".join(parts[:depth])) in digests:
                raise BadRequest.field(
                    f"model_version.files[{index}].path", f"{directory!r} is a file, so it is no directory"
                )
    return digests
