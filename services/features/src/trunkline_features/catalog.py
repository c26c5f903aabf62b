"""The catalogue of views: declared, changed and deleted here, and known to every replica at one revision."""

from __future__ import annotations

import asyncio
import dataclasses
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from trunkline_features import views
from trunkline_features.plan import Plans
from trunkline_features.views import FeatureView, Views
from trunkline_hop.clock import Clock
from trunkline_hop.errors import AlreadyExists, Conflict, Unavailable
from trunkline_hop.pages import page
from trunkline_valkey import StoreDown

_LIST = ("views",)
_COMMIT_ATTEMPTS = 20


@dataclass(frozen=True, slots=True)
class Answer:
    """What a mutation answered."""

    fingerprint: str
    """Of the request."""
    view: FeatureView | None
    """None: it was a deletion."""


@dataclass(frozen=True, slots=True)
class Mutation:
    """Who asks for a change, so that a repeated request is known (AIP-155)."""

    request_id: str = ""
    fingerprint: str = ""


class ViewStore(Protocol):
    """Where views are kept. Every method raises StoreDown."""

    async def load(self) -> Views:
        """All views at one revision."""
        ...

    async def answer(self, request_id: str) -> Answer | None:
        """The answer that a request with this id got within the last day."""
        ...

    async def commit(
        self,
        revision: str,
        next_revision: str,
        view_id: str,
        view: FeatureView | None,
        request_id: str,
        answer: Answer,
    ) -> bool:
        """Stores a view (None: removes it) if the views are still at the revision."""
        ...


class Catalog:
    """The views as this replica knows them, and the changes to them.

    Args:
        store: where they are kept.
        clock: for their times.
    """

    def __init__(self, store: ViewStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._plans: Plans | None = None
        self._loading = asyncio.Lock()

    @property
    def loaded(self) -> bool:
        """True once the views were read: from then on reads are answered without the store too."""
        return self._plans is not None

    async def known(self) -> Plans:
        """The views as they were when last read.

        Raises:
            StoreDown: they never were.
        """
        return self._plans or await self.refresh(None)

    async def refresh(self, seen: Plans | None) -> Plans:
        """Views that were read after `seen` was found wanting; many who ask at once cause one read.

        Raises:
            StoreDown: the store did not answer.
        """
        async with self._loading:
            if self._plans is None or self._plans is seen:
                loaded = await self._store.load()
                if self._plans is None or self._plans.views.revision != loaded.revision:
                    self._plans = Plans(loaded)
            return self._plans

    async def load(self) -> None:
        """Returns once the views were read, however long the store takes to come up."""
        while not self.loaded:
            try:
                await self.refresh(None)
            except StoreDown as down:
                await asyncio.sleep(down.retry_after.total_seconds())

    async def get(self, view_id: str) -> FeatureView:
        """One view.

        Raises:
            NotFound: VIEW_UNKNOWN.
            Unavailable: STORE_UNREACHABLE.
        """
        return (await self._current()).view(view_id)

    async def list(self, page_size: int, page_token: str) -> tuple[Sequence[FeatureView], str]:
        """A page of the views by name, and the token of the next one, empty on the last.

        Raises:
            BadRequest: a token that no page gave.
            Unavailable: STORE_UNREACHABLE.
        """
        found = list((await self._current()).by_id.values())
        return page(found, lambda view: view.id, page_size, page_token, _LIST)

    async def create(self, wanted: FeatureView, mutation: Mutation) -> FeatureView:
        """Declares a view.

        Raises:
            BadRequest: the view is wrong.
            AlreadyExists: RESOURCE_EXISTS.
            Conflict: REQUEST_ID_REUSED.
            Unavailable: STORE_UNREACHABLE.
        """
        views.check(wanted)

        def change(known: Views) -> FeatureView:
            if wanted.id in known.by_id:
                raise AlreadyExists(
                    "RESOURCE_EXISTS",
                    f"there is a view `{wanted.id}` already",
                    resource_type="view",
                    resource_name=wanted.name,
                )
            now = self._now()
            return dataclasses.replace(
                wanted, incarnation=_unique()[:12], create_time=now, update_time=now, etag=_unique()
            )

        created = await self._mutate(wanted.id, change, mutation)
        return created if created is not None else wanted

    async def update(self, wanted: FeatureView, paths: Sequence[str], mutation: Mutation) -> FeatureView:
        """Changes a view.

        Raises:
            BadRequest: a change that stored rows would not survive, or a wrong value.
            NotFound: VIEW_UNKNOWN.
            Conflict: ETAG_MISMATCH or REQUEST_ID_REUSED.
            Unavailable: STORE_UNREACHABLE.
        """

        def change(known: Views) -> FeatureView:
            current = known.view(wanted.id)
            _check_etag(current, wanted.etag)
            return dataclasses.replace(
                views.evolve(current, wanted, paths), update_time=self._now(), etag=_unique()
            )

        updated = await self._mutate(wanted.id, change, mutation)
        return updated if updated is not None else wanted

    async def delete(self, view_id: str, etag: str, mutation: Mutation) -> None:
        """Deletes a view. Its rows can no longer be read, not even by a new view of that name.

        Raises:
            NotFound: VIEW_UNKNOWN.
            Conflict: ETAG_MISMATCH or REQUEST_ID_REUSED.
            Unavailable: STORE_UNREACHABLE.
        """

        def change(known: Views) -> None:
            _check_etag(known.view(view_id), etag)

        await self._mutate(view_id, change, mutation)

    async def _mutate(
        self, view_id: str, change: Callable[[Views], FeatureView | None], mutation: Mutation
    ) -> FeatureView | None:
        try:
            for _ in range(_COMMIT_ATTEMPTS):
                known = await self._store.load()
                if mutation.request_id:
                    given = await self._store.answer(mutation.request_id)
                    if given is not None:
                        return _replay(given, mutation)
                changed = change(known)
                answer = Answer(mutation.fingerprint, changed)
                if await self._store.commit(
                    known.revision, _unique(), view_id, changed, mutation.request_id, answer
                ):
                    return changed
        except StoreDown as down:
            raise down.unavailable() from down
        raise Unavailable("STORE_UNREACHABLE", "too many views are being changed at once")

    async def _current(self) -> Views:
        try:
            return (await self.refresh(self._plans)).views
        except StoreDown as down:
            raise down.unavailable() from down

    def _now(self) -> datetime:
        return self._clock.now().astimezone(UTC)


def _replay(given: Answer, mutation: Mutation) -> FeatureView | None:
    if given.fingerprint != mutation.fingerprint:
        raise Conflict(
            "REQUEST_ID_REUSED",
            "another request was sent under this request_id",
            resource_type="request",
            resource_name=mutation.request_id,
        )
    return given.view


def _check_etag(current: FeatureView, etag: str) -> None:
    if etag and etag != current.etag:
        raise Conflict(
            "ETAG_MISMATCH",
            f"view `{current.id}` has changed since it was read",
            resource_type="view",
            resource_name=current.name,
        )


def _unique() -> str:
    return uuid.uuid4().hex
