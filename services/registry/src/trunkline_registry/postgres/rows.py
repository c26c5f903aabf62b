"""Rows of models, versions and answers, within one transaction."""

# ruff: noqa: S608 only the two column lists below are put into statements; values are parameters

from __future__ import annotations

from dataclasses import asdict, replace
from datetime import datetime
from typing import Any, LiteralString

from psycopg import AsyncConnection
from psycopg.rows import DictRow
from psycopg.types.json import Jsonb
from pydantic import TypeAdapter

from trunkline_registry.formats import Format
from trunkline_registry.models import Model, ModelText
from trunkline_registry.pages import PAGE_BYTES, Rows
from trunkline_registry.requests import FirstRequest, RequestKey
from trunkline_registry.stages import Stage
from trunkline_registry.versions import ModelFile, ModelVersion, NewVersion
from trunkline_registry.watch import Change, Position, ServingSet, State

CHANNEL = "trunkline_registry"
"""Where a committed change of a serving set is notified."""

_MODEL: LiteralString = "model_id, display_name, description, labels, create_time, update_time, etag"
_VERSION: LiteralString = (
    "model_id, version, format, files, digest, size_bytes, card, labels, create_time, stage, stage_time, etag"
)
_SERVING = TypeAdapter(ServingSet)


class PostgresRows:
    """What one transaction reads and changes."""

    def __init__(self, connection: AsyncConnection[DictRow]) -> None:
        self._connection = connection

    # Answers

    async def claim(self, key: RequestKey) -> FirstRequest | None:
        """None when this is the first request with the id: others with it then wait for this transaction."""
        claimed = await self._one(
            "INSERT INTO requests (method, request_id, fingerprint) VALUES (%s, %s, %s)"
            " ON CONFLICT DO NOTHING RETURNING method",
            [key.method, key.request_id, key.fingerprint],
        )
        if claimed is not None:
            return None
        first = await self._row(
            "SELECT fingerprint, answer FROM requests WHERE method = %s AND request_id = %s",
            [key.method, key.request_id],
        )
        return FirstRequest(bytes(first["fingerprint"]), bytes(first["answer"]))

    async def remember(self, key: RequestKey, answer: bytes) -> None:
        """Keeps the answer of a claimed request."""
        await self._connection.execute(
            "UPDATE requests SET answer = %s WHERE method = %s AND request_id = %s",
            [answer, key.method, key.request_id],
        )

    async def forget(self, before: datetime) -> None:
        """Drops the answers given before a time."""
        await self._connection.execute("DELETE FROM requests WHERE create_time < %s", [before])

    # Models

    async def insert_model(self, model_id: str, text: ModelText, now: datetime) -> Model | None:
        """The new model, None when the id is taken."""
        row = await self._one(
            "INSERT INTO models (model_id, display_name, description, labels, create_time, update_time)"
            f" VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING RETURNING {_MODEL}",
            [model_id, text.display_name, text.description, Jsonb(dict(text.labels)), now, now],
        )
        return Model(**row) if row else None

    async def model(self, model_id: str) -> Model | None:
        """The model, None when there is none."""
        row = await self._one(f"SELECT {_MODEL} FROM models WHERE model_id = %s", [model_id])
        return Model(**row) if row else None

    async def lock_model(self, model_id: str) -> Model | None:
        """The model, which nobody else changes until this transaction ends."""
        row = await self._one(f"SELECT {_MODEL} FROM models WHERE model_id = %s FOR UPDATE", [model_id])
        return Model(**row) if row else None

    async def save_model(self, model: Model, now: datetime) -> Model:
        """The model with its new text, update time and etag."""
        row = await self._row(
            "UPDATE models SET display_name = %s, description = %s, labels = %s, update_time = %s,"
            f" etag = gen_random_uuid()::text WHERE model_id = %s RETURNING {_MODEL}",
            [model.display_name, model.description, Jsonb(dict(model.labels)), now, model.model_id],
        )
        return Model(**row)

    async def models(self, after: str, limit: int) -> Rows[Model]:
        """Models by id, those after `after`."""
        rows = await self._all(
            "WITH page AS ("
            f" SELECT {_MODEL}, octet_length(description) + octet_length(labels::text) AS bytes"
            "  FROM models WHERE model_id > %(after)s ORDER BY model_id LIMIT %(limit)s + 1),"
            " sized AS (SELECT *, count(*) OVER () AS total, row_number() OVER page_order AS place,"
            "  sum(bytes) OVER page_order - bytes AS bytes_before FROM page WINDOW page_order AS (ORDER BY model_id))"
            f" SELECT {_MODEL}, total FROM sized WHERE place <= %(limit)s AND bytes_before < %(bytes)s"
            " ORDER BY place",
            {"after": after, "limit": limit, "bytes": PAGE_BYTES},
        )
        return Rows(*_page(rows, Model))

    async def announce_model(self, model_id: str) -> None:
        """Tells the watchers that there is this model and that none of its versions serves."""
        await self.publish(model_id, ())

    # Versions

    async def insert_version(
        self, model_id: str, new: NewVersion, files: tuple[ModelFile, ...], digest: str, now: datetime
    ) -> ModelVersion:
        """The next version of a model that this transaction has locked, in DEVELOPMENT."""
        row = await self._row(
            "WITH next AS (UPDATE models SET last_version = last_version + 1 WHERE model_id = %s"
            " RETURNING last_version)"
            " INSERT INTO versions (model_id, version, format, files, digest, size_bytes, card, labels,"
            " create_time, stage, stage_time)"
            " SELECT %s, last_version, %s, %s, %s, %s, %s, %s, %s, 'DEVELOPMENT', %s FROM next"
            f" RETURNING {_VERSION}",
            [
                model_id,
                model_id,
                new.format.name,
                Jsonb([asdict(file) for file in files]),
                digest,
                sum(file.size_bytes for file in files),
                new.card,
                Jsonb(dict(new.labels)),
                now,
                now,
            ],
        )
        return _version(**row)

    async def version(self, model_id: str, version: int) -> ModelVersion | None:
        """The version, None when there is none."""
        row = await self._one(
            f"SELECT {_VERSION} FROM versions WHERE model_id = %s AND version = %s", [model_id, version]
        )
        return _version(**row) if row else None

    async def in_production(self, model_id: str) -> ModelVersion | None:
        """The model's version in production, None when there is none."""
        row = await self._one(
            f"SELECT {_VERSION} FROM versions WHERE model_id = %s AND stage = 'PRODUCTION'", [model_id]
        )
        return _version(**row) if row else None

    async def versions(
        self, model_id: str, before: int | None, stage: Stage | None, limit: int
    ) -> Rows[ModelVersion]:
        """Versions of a model, newest first, those before `before`."""
        rows = await self._all(
            "WITH page AS ("
            f" SELECT {_VERSION}, octet_length(card) + octet_length(files::text) + octet_length(labels::text) AS bytes"
            "  FROM versions WHERE model_id = %(model)s AND (%(before)s::integer IS NULL OR version < %(before)s)"
            "  AND (%(stage)s::text IS NULL OR stage = %(stage)s) ORDER BY version DESC LIMIT %(limit)s + 1),"
            " sized AS (SELECT *, count(*) OVER () AS total, row_number() OVER page_order AS place,"
            "  sum(bytes) OVER page_order - bytes AS bytes_before"
            "  FROM page WINDOW page_order AS (ORDER BY version DESC))"
            f" SELECT {_VERSION}, total FROM sized WHERE place <= %(limit)s AND bytes_before < %(bytes)s"
            " ORDER BY place",
            {
                "model": model_id,
                "before": before,
                "stage": stage.name if stage else None,
                "limit": limit,
                "bytes": PAGE_BYTES,
            },
        )
        return Rows(*_page(rows, _version))

    async def move_version(self, version: ModelVersion, stage: Stage, now: datetime) -> ModelVersion:
        """The version in its new stage, with a new etag."""
        row = await self._row(
            "UPDATE versions SET stage = %s, stage_time = %s, etag = gen_random_uuid()::text"
            f" WHERE model_id = %s AND version = %s RETURNING {_VERSION}",
            [stage.name, now, version.model_id, version.version],
        )
        return _version(**row)

    # The feed

    async def publish(self, model_id: str, serving: tuple[ModelVersion, ...]) -> None:
        """Tells the watchers which versions of the model serve from this transaction on.

        Locks the revision until the transaction ends: publish last.
        """
        bare = ServingSet(model_id, tuple(replace(version, card="") for version in serving))
        await self._connection.execute(
            "WITH next AS (UPDATE feed SET revision = revision + 1 RETURNING revision),"
            " written AS (INSERT INTO changes (revision, model_id, serving)"
            "  SELECT revision, %s, %s FROM next RETURNING revision)"
            " SELECT pg_notify(%s, revision::text) FROM written",
            [model_id, Jsonb(_SERVING.dump_python(bare, mode="json")), CHANNEL],
        )

    async def position(self) -> Position:
        """Where the feed is now."""
        row = await self._row("SELECT store, revision FROM feed", [])
        return Position(row["store"], row["revision"])

    async def state(self) -> State:
        """Every serving set, in one statement so that it is one moment's."""
        rows = await self._all(
            "SELECT feed.store, feed.revision AS head, last.revision, last.serving FROM feed LEFT JOIN ("
            " SELECT DISTINCT ON (model_id) revision, serving FROM changes ORDER BY model_id, revision DESC"
            ") AS last ON true ORDER BY last.revision",
            [],
        )
        changes = [_change(row) for row in rows if row["revision"] is not None]
        return State(Position(rows[0]["store"], rows[0]["head"]), changes)

    async def since(self, revision: int, limit: int) -> list[Change]:
        """The changes after a revision, in order, the first `limit` of them."""
        rows = await self._all(
            "SELECT revision, serving FROM changes WHERE revision > %s ORDER BY revision LIMIT %s",
            [revision, limit],
        )
        return [_change(row) for row in rows]

    async def compact(self, keep: int) -> None:
        """Drops changes that a later one of the same model has overtaken, but for the last `keep`."""
        await self._connection.execute(
            "DELETE FROM changes AS old USING feed WHERE old.revision <= feed.revision - %s AND EXISTS ("
            " SELECT FROM changes AS later WHERE later.model_id = old.model_id AND later.revision > old.revision)",
            [keep],
        )

    async def _all(self, query: LiteralString, arguments: Any) -> list[DictRow]:
        cursor = await self._connection.execute(query, arguments)
        return await cursor.fetchall()

    async def _one(self, query: LiteralString, arguments: Any) -> DictRow | None:
        rows = await self._all(query, arguments)
        return rows[0] if rows else None

    async def _row(self, query: LiteralString, arguments: Any) -> DictRow:
        (row,) = await self._all(query, arguments)
        return row


def _page(rows: list[DictRow], kind: Any) -> tuple[list[Any], bool]:
    """The items of a page and whether others follow: `total` counts one more than the page may hold."""
    more = bool(rows) and rows[0]["total"] > len(rows)
    return [kind(**{key: value for key, value in row.items() if key != "total"}) for row in rows], more


def _version(*, format: str, files: list[dict[str, Any]], stage: str, **rest: Any) -> ModelVersion:  # noqa: A002
    return ModelVersion(
        format=Format[format],
        files=tuple(ModelFile(**file) for file in files),
        stage=Stage[stage],
        **rest,
    )


def _change(row: DictRow) -> Change:
    return Change(row["revision"], _SERVING.validate_python(row["serving"]))
