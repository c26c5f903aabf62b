"""Models: lines of versions with one purpose."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

from pydantic import TypeAdapter

from trunkline_hop.clock import Clock
from trunkline_hop.errors import AlreadyExists, BadRequest, Conflict
from trunkline_hop.pages import page_cursor, page_size, page_token
from trunkline_registry.names import model_name, unknown_model
from trunkline_registry.pages import Page, Rows
from trunkline_registry.requests import Answers, RequestKey, once
from trunkline_registry.store import Store
from trunkline_registry.texts import check_labels, check_text

CHANGEABLE = ("display_name", "description", "labels")


@dataclass(frozen=True, slots=True)
class ModelText:
    """What people say about a model."""

    display_name: str
    description: str
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Model:
    """A model as it is stored."""

    model_id: str
    display_name: str
    description: str
    labels: Mapping[str, str]
    create_time: datetime
    update_time: datetime
    etag: str


class ModelRows(Answers, Protocol):
    """The models in the store, within a transaction."""

    async def insert_model(self, model_id: str, text: ModelText, now: datetime) -> Model | None:
        """The new model, None when the id is taken."""
        ...

    async def model(self, model_id: str) -> Model | None: ...

    async def lock_model(self, model_id: str) -> Model | None:
        """The model, which nobody else changes until this transaction ends."""
        ...

    async def save_model(self, model: Model, now: datetime) -> Model:
        """The model with its new text, update time and etag."""
        ...

    async def announce_model(self, model_id: str) -> None:
        """Tells the watchers that there is this model and that none of its versions serves."""
        ...

    async def models(self, after: str, limit: int) -> Rows[Model]:
        """Models by id, those after `after`."""
        ...


_MODEL = TypeAdapter(Model)
_LIST = ("models",)


@dataclass(frozen=True, slots=True)
class Models:
    """What can be done with models."""

    store: Store[ModelRows]
    clock: Clock

    async def create(self, model_id: str, text: ModelText, request: RequestKey | None) -> Model:
        """A new model, without versions.

        Raises:
            AlreadyExists: the id is taken.
            BadRequest: a text that cannot be stored.
        """
        _check(text)
        async with self.store.transaction("create_model") as rows:
            return await once(rows, request, _MODEL, lambda: self._create(rows, model_id, text))

    async def _create(self, rows: ModelRows, model_id: str, text: ModelText) -> Model:
        model = await rows.insert_model(model_id, text, self.clock.now())
        if model is None:
            raise AlreadyExists(
                "RESOURCE_EXISTS",
                "There is a model with this id already.",
                resource_type="model",
                resource_name=model_name(model_id),
            )
        await rows.announce_model(model_id)
        return model

    async def get(self, model_id: str) -> Model:
        """The model.

        Raises:
            NotFound: MODEL_UNKNOWN.
        """
        async with self.store.transaction("get_model") as rows:
            return _found(await rows.model(model_id), model_id)

    async def list(self, size: int, token: str) -> Page[Model]:
        """One page of models, by id.

        Raises:
            BadRequest: the token is none of this list.
        """
        after = page_cursor(_LIST, token) if token else ""
        async with self.store.transaction("list_models") as rows:
            found = await rows.models(after, page_size(size))
        return Page(found.items, page_token(_LIST, found.items[-1].model_id) if found.more else "")

    async def update(
        self,
        model_id: str,
        text: ModelText,
        paths: Collection[str],
        etag: str,
        request: RequestKey | None,
    ) -> Model:
        """The model with the fields in `paths` changed. An empty etag changes it whatever it is now.

        Raises:
            NotFound: MODEL_UNKNOWN.
            BadRequest: a path that cannot be changed, or a text that cannot be stored.
            Conflict: ETAG_MISMATCH, somebody changed it first.
        """
        if not paths or not set(paths) <= set(CHANGEABLE):
            raise BadRequest.field("update_mask", f"must name some of {', '.join(CHANGEABLE)}")
        _check(text)
        async with self.store.transaction("update_model") as rows:
            return await once(rows, request, _MODEL, lambda: self._update(rows, model_id, text, paths, etag))

    async def _update(
        self, rows: ModelRows, model_id: str, text: ModelText, paths: Collection[str], etag: str
    ) -> Model:
        model = _found(await rows.lock_model(model_id), model_id)
        check_etag("model", model_name(model_id), etag, model.etag)
        changes = {path: getattr(text, path) for path in paths}
        return await rows.save_model(replace(model, **changes), self.clock.now())


def check_etag(kind: str, name: str, given: str, current: str) -> None:
    """Passes when the caller gave no etag or the current one (AIP-154).

    Raises:
        Conflict: ETAG_MISMATCH.
    """
    if given and given != current:
        raise Conflict(
            "ETAG_MISMATCH",
            "It was changed since it was read: read it again.",
            resource_type=kind,
            resource_name=name,
            metadata={"etag": current},
        )


def _found(model: Model | None, model_id: str) -> Model:
    if model is None:
        raise unknown_model(model_name(model_id))
    return model


def _check(text: ModelText) -> None:
    check_text("model.display_name", text.display_name)
    check_text("model.description", text.description)
    check_labels("model.labels", text.labels)
