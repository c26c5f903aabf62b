"""Feature views in Redis: a hash of documents, and a revision that changes with each of them."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

from trunkline_features.catalog import Answer
from trunkline_features.views import FeatureView, Field, FieldType, Value, Views
from trunkline_valkey import Script, Store

REVISION_KEY = "{views}:revision"
_DOCUMENTS_KEY = "{views}:documents"
_ANSWERS_KEPT = timedelta(days=1)

_LOAD = Script("load_views", "return {redis.call('GET', KEYS[1]) or '', redis.call('HGETALL', KEYS[2])}")

_COMMIT = Script(
    "commit_view",
    """
-- KEYS: revision, documents, answer   ARGV: revision, next revision, id, document or '', answer or '', its life in ms
-- Returns 1, or 0 when somebody else changed a view first.
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
if ARGV[4] == '' then
  redis.call('HDEL', KEYS[2], ARGV[3])
else
  redis.call('HSET', KEYS[2], ARGV[3], ARGV[4])
end
if ARGV[5] ~= '' then redis.call('SET', KEYS[3], ARGV[5], 'PX', ARGV[6]) end
return 1
""",
)


class RedisViews:
    """The views, and the answers given to requests with an id.

    Args:
        store: the connection.
        timeout_s: longest wait for one answer.
    """

    def __init__(self, store: Store, *, timeout_s: float) -> None:
        self._store = store
        self._timeout_s = timeout_s

    async def load(self) -> Views:
        """All views at one revision.

        Raises:
            StoreDown: the store did not answer.
        """
        revision, flat = await self._store.script(
            _LOAD, (REVISION_KEY, _DOCUMENTS_KEY), (), timeout_s=self._timeout_s
        )
        documents = (json.loads(document) for document in flat[1::2])
        return Views(
            revision.decode(),
            {view.id: view for view in sorted(map(_view, documents), key=lambda each: each.id)},
        )

    async def answer(self, request_id: str) -> Answer | None:
        """The answer that a request with this id got.

        Raises:
            StoreDown: the store did not answer.
        """
        stored = await self._store.command("GET", _answer_key(request_id), timeout_s=self._timeout_s)
        if stored is None:
            return None
        document = json.loads(stored)
        view = document["view"]
        return Answer(document["fingerprint"], None if view is None else _view(view))

    async def commit(
        self,
        revision: str,
        next_revision: str,
        view_id: str,
        view: FeatureView | None,
        request_id: str,
        answer: Answer,
    ) -> bool:
        """Stores or, with None, removes a view, together with the answer if the request has an id.

        Returns:
            False, and nothing is changed, when the views are at another revision.

        Raises:
            StoreDown: the store did not answer; whether it stored is not known.
        """
        kept = ""
        if request_id:
            stored = None if answer.view is None else _document(answer.view)
            kept = json.dumps({"fingerprint": answer.fingerprint, "view": stored})
        document = "" if view is None else json.dumps(_document(view))
        done = await self._store.script(
            _COMMIT,
            (REVISION_KEY, _DOCUMENTS_KEY, _answer_key(request_id)),
            (revision, next_revision, view_id, document, kept, _ANSWERS_KEPT // timedelta(milliseconds=1)),
            timeout_s=self._timeout_s,
        )
        return bool(done)


def _answer_key(request_id: str) -> str:
    return f"{{views}}:answer:{request_id}"


def _document(view: FeatureView) -> dict[str, Any]:
    return {
        "id": view.id,
        "incarnation": view.incarnation,
        "entity_type": view.entity_type,
        "fields": [
            {
                "name": field.name,
                "type": field.type.name,
                "default": _plain(field.default),
                "dimension": field.dimension,
                "description": field.description,
            }
            for field in view.fields
        ],
        "ttl_us": view.ttl_us,
        "description": view.description,
        "owner": view.owner,
        "source": view.source,
        "create_time": view.create_time.isoformat(),
        "update_time": view.update_time.isoformat(),
        "etag": view.etag,
    }


def _view(document: dict[str, Any]) -> FeatureView:
    ttl_us = document["ttl_us"]
    return FeatureView(
        id=document["id"],
        entity_type=document["entity_type"],
        fields=tuple(
            Field(
                name=field["name"],
                type=FieldType[field["type"]],
                default=_value(FieldType[field["type"]], field["default"]),
                dimension=field["dimension"],
                description=field["description"],
            )
            for field in document["fields"]
        ),
        ttl=None if ttl_us is None else timedelta(microseconds=ttl_us),
        description=document["description"],
        owner=document["owner"],
        source=document["source"],
        incarnation=document["incarnation"],
        create_time=datetime.fromisoformat(document["create_time"]).astimezone(UTC),
        update_time=datetime.fromisoformat(document["update_time"]).astimezone(UTC),
        etag=document["etag"],
    )


def _plain(value: Value | None) -> Any:
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value


def _value(field_type: FieldType, plain: Any) -> Value | None:
    if plain is None:
        return None
    if field_type is FieldType.BYTES:
        return base64.b64decode(plain)
    value: Value = tuple(plain) if field_type is FieldType.FLOAT32_VECTOR else plain
    return value
