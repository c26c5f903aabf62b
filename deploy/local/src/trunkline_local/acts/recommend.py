"""Books for readers through the gateway: taste is met, a new book is found, the index is swapped under traffic.

Readers and new books are those that the recipe held out (`preview.json`): what each reader went on to like is known
and was not trained on, so the picture can count what was found.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio
import onnxruntime
from rich.markup import escape
from rich.table import Table

from trunkline.ranking.v1 import ranking_pb2 as ranking
from trunkline.ranking.v1.ranking_pb2_grpc import RankingServiceStub
from trunkline.retrieval.v1 import retrieval_pb2 as retrieval
from trunkline.retrieval.v1.retrieval_pb2_grpc import VectorServiceStub
from trunkline_artifact import SIGNATURE
from trunkline_local.acts.readers import Readers
from trunkline_local.demo import ActFailed, Stage, traceparent
from trunkline_local.indexes import IndexFailed, until_active
from trunkline_local.spans import Kind, Span
from trunkline_local.waterfall import waterfall
from trunkline_recommender import artifact
from trunkline_recommender.books import Book
from trunkline_recommender.content import content
from trunkline_recommender.ratings import LIKED

SHOWN_READERS = 3
SHOWN_BOOKS = 3
LIST = 10
LONGEST_LIST = 100
RATE = 50.0
CALM_S = 2.0
"""How long traffic runs before the build, and again after the swap."""
FIND_TIMEOUT_S = 5.0
WHOLE_TIMEOUT_S = 5.0
TIMEOUT_S = 2.0
SERVICES = ("gateway", "ranking", "features", "retrieval")
BUDGET_MS = {"gateway": 1.0, "features": 1.5, "retrieval": 1.0, "inference": 1.8, "the rest": 0.7}
"""Of DESIGN.md, for the 99th percentile on a quiet core."""


@dataclass(slots=True)
class Traffic:
    """Recommendations that are due at a fixed rate, and what their callers saw."""

    took: list[tuple[float, float]] = field(default_factory=list)
    """When each was due, and how long it took from then, in seconds."""
    failures: Counter[str] = field(default_factory=Counter)
    degraded: int = 0
    snapshots: set[str] = field(default_factory=set)
    going: bool = True

    def p99_ms(self, begin: float, end: float) -> float:
        """Of those that were due in between."""
        took = [took * 1e3 for due, took in self.took if begin <= due < end]
        return statistics.quantiles(took, n=100)[98] if len(took) > 1 else float("nan")


class RecommendAct:
    """The act."""

    title = "recommend: books for readers, a new one, and an index swapped under traffic"
    order = 20

    async def play(self, stage: Stage) -> None:
        """Recommends, adds, swaps, traces.

        Raises:
            ActFailed: taste was not met, the new book was not found, an answer was an error.
        """
        async with grpc.aio.insecure_channel(stage.gateway) as channel:
            await _Play(stage, channel).run()


class _Play:
    def __init__(self, stage: Stage, channel: grpc.aio.Channel) -> None:
        self._stage = stage
        self._print = stage.console.print
        self._channel = channel
        self._ranking = RankingServiceStub(channel)
        self._vectors = VectorServiceStub(channel)
        self._readers = Readers.shipped()
        self._new = self._readers.preview.new_books
        place = artifact.directory()
        self._tower = onnxruntime.InferenceSession(place / artifact.ITEM_TOWER)
        self._index = f"indexes/{json.loads((place / SIGNATURE).read_bytes())['index']}"
        items = json.loads((place / artifact.ITEMS).read_bytes())["items"]
        self._books = {item["id"]: Book.of(item) for item in items}
        self._books |= {new.book.id: new.book for new in self._new}

    async def run(self) -> None:
        await self._readers.write(self._channel)
        await self._show()
        await self._unknown_reader()
        await self._new_book()
        await self._swap()
        await self._trace()

    async def _show(self) -> None:
        readers = self._readers.preview.readers
        answers = [await self._whole(reader.id) for reader in readers]
        most_popular = await self._popular()
        liked = found = popular = 0
        for reader, answer in zip(readers, answers, strict=True):
            if answer.source != ranking.SOURCE_PERSONAL:
                raise ActFailed(f"{reader.id} has a history and got {ranking.Source.Name(answer.source)}")
            read, likes = {event.book_id for event in reader.log}, set(reader.next_liked)
            listed = [item.item_id for item in answer.items]
            if again := read.intersection(listed):
                raise ActFailed(f"{reader.id} read {', '.join(again)} before")
            unread = [book for book in most_popular if book not in read][:LIST]
            liked += min(len(likes), LIST)
            found += len(likes.intersection(listed))
            popular += len(likes.intersection(unread))
        for reader, answer in list(zip(readers, answers, strict=True))[:SHOWN_READERS]:
            tastes = Counter(self._books[event.book_id].genre for event in reader.log if event.stars >= LIKED)
            genres = ", ".join(genre for genre, _ in tastes.most_common(3))
            self._print(f"{reader.id} read {len(reader.log)} books and likes {genres}:")
            for item in answer.items[:SHOWN_BOOKS]:
                book = self._books[item.item_id]
                mark = "[green]and went on to like it[/]" if book.id in reader.next_liked else ""
                self._print(
                    f"  {item.score:.2f}  {escape(book.title)} [dim]{book.genre}, {book.author}[/] {mark}"
                )
        self._print(
            f"of {liked} books that {len(readers)} readers went on to like, {found} are among their ten; "
            f"the ten most popular have {popular}"
        )
        if found <= popular:
            raise ActFailed("the recommender must find more than the popular list does")

    async def _popular(self) -> list[str]:
        """What a reader gets whom nobody knows."""
        answer = await self._whole("nobody-yet", count=LONGEST_LIST)
        if answer.source != ranking.SOURCE_POPULAR:
            raise ActFailed("an unknown reader must get the popular list, and be told so")
        return [item.item_id for item in answer.items]

    async def _unknown_reader(self) -> None:
        titles = [self._books[book].title for book in (await self._popular())[:SHOWN_BOOKS]]
        self._print(
            f"a reader whom nobody knows gets the popular list, and is told so: {escape('; '.join(titles))}"
        )

    async def _new_book(self) -> None:
        """A book that came after training becomes findable by what is known of it."""
        new = max(self._new, key=lambda each: len(each.liked_by))
        book = new.book
        (embedding,) = self._tower.run(["embedding"], {"content": content([book])})
        vector = retrieval.Vector(id=book.id, values=embedding[0].tolist())
        vector.attributes.update(book.attributes())
        began = time.monotonic()
        written = await self._vectors.UpsertVectors(
            retrieval.UpsertVectorsRequest(index=self._index, vectors=[vector]), timeout=TIMEOUT_S
        )
        readers = new.liked_by
        while time.monotonic() < began + FIND_TIMEOUT_S:
            places = {reader: await self._place_of(book.id, reader) for reader in readers}
            if found := {reader: place for reader, place in places.items() if place is not None}:
                took_s = time.monotonic() - began
                self._print(
                    f"new: {escape(book.title)} ({book.genre}), change {written.sequence} of the index; {took_s:.2f} s "
                    f"later it is recommended to {len(found)} of the {len(readers)} readers who went on to like it, at "
                    f"best in place {min(found.values())}"
                )
                return
        raise ActFailed(
            f"{book.title} is not recommended to anybody {FIND_TIMEOUT_S:g} s after it was written"
        )

    async def _place_of(self, book: str, reader: str) -> int | None:
        """Where a book is in a reader's longest list, counting from 1."""
        answer, _ = await self._recommend(reader, count=LONGEST_LIST)
        listed = [item.item_id for item in answer.items]
        return listed.index(book) + 1 if book in listed else None

    async def _swap(self) -> None:
        """Another snapshot, with the new book in it, takes over while recommendations go on."""
        before = (
            await self._vectors.GetIndex(retrieval.GetIndexRequest(name=self._index), timeout=TIMEOUT_S)
        ).index
        traffic = Traffic()
        running = asyncio.create_task(self._traffic(traffic))
        began = time.monotonic()
        await asyncio.sleep(CALM_S)
        building = time.monotonic()
        request = retrieval.BuildSnapshotRequest(index=self._index)
        snapshot = (await self._vectors.BuildSnapshot(request, timeout=TIMEOUT_S)).snapshot
        try:
            snapshot = await until_active(self._vectors, snapshot)
        except IndexFailed as failed:
            raise ActFailed(str(failed)) from failed
        swapped = time.monotonic()
        await asyncio.sleep(CALM_S)
        traffic.going = False
        await running
        if traffic.failures:
            raise ActFailed(f"recommendations failed during the swap: {dict(traffic.failures)}")
        if traffic.snapshots != {before.active_snapshot, snapshot.name}:
            raise ActFailed(
                f"answers must come from the snapshot before and the one after, not {traffic.snapshots}"
            )
        kind = retrieval.IndexType.Name(snapshot.type).removeprefix("INDEX_TYPE_")
        self._print(
            f"{RATE:g} requests/s, and a snapshot of {snapshot.vector_count} books ({kind}) built, checked and swapped in "
            f"{swapped - building:.1f} s: {len(traffic.took)} answers, none failed, {traffic.degraded} degraded; p99 "
            f"{traffic.p99_ms(began, building):.1f} ms before, {traffic.p99_ms(building, swapped + CALM_S):.1f} ms from then on"
        )

    async def _traffic(self, traffic: Traffic) -> None:
        readers = self._readers.ids
        began, number = time.monotonic(), 0

        async def one(due: float, reader: str) -> None:
            try:
                answer, degraded = await self._recommend(reader)
            except grpc.aio.AioRpcError as error:
                traffic.failures[error.code().name] += 1
                return
            traffic.took.append((due, time.monotonic() - due))
            if degraded:
                traffic.degraded += 1
            else:
                traffic.snapshots.add(answer.snapshot)

        async with asyncio.TaskGroup() as calls:
            while traffic.going:
                due = began + number / RATE
                await asyncio.sleep(due - time.monotonic())
                calls.create_task(one(due, readers[number % len(readers)]))
                number += 1

    async def _trace(self) -> None:
        """One more request, traced, against the budget."""
        trace_id, header = traceparent()
        reader = self._readers.ids[0]
        await self._recommend(reader, metadata=(("traceparent", header),))
        self._print()
        spans = await self._stage.trace(trace_id, SERVICES)
        self._print(waterfall(spans))
        self._print()
        self._print(against_budget(spans))

    async def _whole(self, reader: str, count: int = LIST) -> ranking.RecommendResponse:
        """An answer for which every service was there in time: a busy machine may need a second try."""
        give_up = time.monotonic() + WHOLE_TIMEOUT_S
        while True:
            answer, degraded = await self._recommend(reader, count)
            if not degraded:
                return answer
            if time.monotonic() > give_up:
                raise ActFailed(f"answers are degraded for {WHOLE_TIMEOUT_S:g} s: {degraded}")

    async def _recommend(
        self, reader: str, count: int = LIST, metadata: Any = None
    ) -> tuple[ranking.RecommendResponse, str]:
        """The answer, and what was degraded about it."""
        earlier = self._readers.earlier(reader)
        request = ranking.RecommendRequest(user_id=reader, count=count, exclude_item_ids=earlier)
        call = self._ranking.Recommend(request, timeout=TIMEOUT_S, metadata=metadata)
        answer: ranking.RecommendResponse = await call
        return answer, str(dict(await call.trailing_metadata() or ()).get("x-trunkline-degraded", ""))


def against_budget(spans: Sequence[Span]) -> Table:
    """Where the time of a recommendation went, beside what the design allows each part."""
    spent = parts_ms(spans)
    table = Table(box=None, pad_edge=False)
    table.add_column("part")
    table.add_column("ms", justify="right")
    table.add_column("budget", justify="right")
    for part, budget in BUDGET_MS.items():
        over = spent[part] > budget
        table.add_row(part, f"{spent[part]:.2f}", f"{budget:.2f}", style="yellow" if over else None)
    table.add_row("all", f"{sum(spent.values()):.2f}", f"{sum(BUDGET_MS.values()):.2f}")
    return table


def parts_ms(spans: Sequence[Span]) -> Mapping[str, float]:
    """Milliseconds by part of the budget: the two reads with both transports, and what the gateway adds."""

    def took(chosen: Sequence[Span]) -> float:
        return sum(span.end_ns - span.start_ns for span in chosen) / 1e6

    of_ranking = [span for span in spans if span.service == "ranking"]
    handled = took([span for span in of_ranking if span.kind == Kind.SERVER])
    whole = max(span.end_ns for span in spans) - min(span.start_ns for span in spans)
    spent = {
        "gateway": whole / 1e6 - handled,
        "features": took([span for span in of_ranking if span.name == "features"]),
        "retrieval": took([span for span in of_ranking if span.name == "retrieval"]),
        "inference": took([span for span in of_ranking if span.name.startswith("compute")]),
    }
    return spent | {"the rest": whole / 1e6 - sum(spent.values())}
