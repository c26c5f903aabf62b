from __future__ import annotations

import gc
import tempfile
import threading
import weakref
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from engine_parts import (
    CPU,
    GENEROUS,
    Model,
    a_collection,
    an_index,
    an_upsert,
    apply,
    built,
    clustered,
    numbered,
    pairs,
    rebuilt,
)
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from numpy.typing import NDArray

from trunkline_retrieval.changes import Attributes, Delete, Entry, Upsert
from trunkline_retrieval.collection import Collection
from trunkline_retrieval.exact import unit
from trunkline_retrieval.filter import parse
from trunkline_retrieval.index import IndexType, Metric
from trunkline_retrieval.snapshot import load

EVERY_TYPE = pytest.mark.parametrize("type_", list(IndexType))

# Whole numbers, few of them: every score is exact, and many are equal.
VECTORS = st.tuples(*[st.integers(-2, 2)] * 3).map(lambda values: np.array(values, np.float32))
IDS = st.sampled_from([f"{letter}{digit}" for letter in "aé" for digit in range(8)])
GENRES = st.fixed_dictionaries(
    {}, optional={"genre": st.sampled_from(["crime", "drama"]), "year": st.just(1994.0)}
)
FILTERS = [None, *map(parse, ("genre = crime", "NOT genre = drama", "year:* AND genre:*", "genre = absent"))]


class Histories(RuleBasedStateMachine):
    """Any history of changes and builds, searched like a dict."""

    @initialize(
        metric=st.sampled_from([Metric.SQUARED_L2, Metric.INNER_PRODUCT]), type_=st.sampled_from(IndexType)
    )
    def start(self, metric: Metric, type_: IndexType) -> None:
        self.directory = tempfile.TemporaryDirectory()
        self.builds = 0
        self.model = Model(metric)
        self.collection = Collection(an_index(3, metric, type_), None, CPU)

    @rule(vectors=st.dictionaries(IDS, st.tuples(VECTORS, GENRES), min_size=1, max_size=6))
    def upsert(self, vectors: dict[str, tuple[NDArray[np.float32], Attributes]]) -> None:
        matrix = np.stack([vector for vector, _ in vectors.values()])
        change = Upsert(list(vectors), matrix, [attributes for _, attributes in vectors.values()])
        apply(self.collection, change)
        self.model.apply(change)

    @rule(ids=st.lists(IDS, min_size=1, max_size=6, unique=True))
    def delete(self, ids: list[str]) -> None:
        apply(self.collection, Delete(ids))
        self.model.apply(Delete(ids))

    @precondition(lambda self: self.builds < 3)
    @rule()
    def build(self) -> None:
        self.builds += 1
        self.collection = rebuilt(self.collection, Path(self.directory.name) / f"s{self.builds}")

    @rule(query=VECTORS, top_k=st.integers(1, 20), where=st.sampled_from(FILTERS))
    def search(self, query: NDArray[np.float32], top_k: int, where: object) -> None:
        (matches,) = self.collection.view().search(query[None], top_k, where, True)
        assert pairs(matches) == self.model.search(query, top_k, where)
        assert matches.attributes == [self.model.attributes[id_] for id_ in matches.ids]

    @invariant()
    def it_counts_what_it_holds(self) -> None:
        assert self.collection.vector_count == len(self.model.vectors)

    def teardown(self) -> None:
        self.directory.cleanup()


Histories.TestCase.settings = settings(
    max_examples=settings.default.max_examples // 3, stateful_step_count=20
)
TestHistories = Histories.TestCase


def history_of(type_: IndexType, operations: int, seed: int, directory: Path) -> None:
    """Random upserts, deletes and builds. Each search: nothing deleted, every score of the newest vector."""
    random = np.random.default_rng(seed)
    source = np.round(16 * clustered(1000, 16, seed))
    collection = Collection(an_index(16, type_=type_), None, CPU)
    model, recalls = Model(Metric.SQUARED_L2), []
    for number in range(operations):
        ids = [f"m{row}" for row in random.choice(1500, random.integers(1, 40), replace=False)]
        change: Upsert | Delete = Delete(ids)
        if random.random() < 0.7:
            rows = random.integers(0, len(source), len(ids))
            change = Upsert(ids, source[rows], [{"year": float(row % 50)} for row in rows])
        apply(collection, change)
        model.apply(change)
        if number % (operations // 4) == operations // 8:
            collection = rebuilt(collection, directory / f"{type_.name}-{number}")
        if number % 5 == 0:
            query = source[random.integers(0, len(source))] + np.float32(random.integers(-1, 2))
            where = parse(f"year < {random.integers(1, 50)}") if random.random() < 0.5 else None
            (matches,) = collection.view().search(query[None], 20, where)
            expected = model.search(query, 20, where)
            assert len(matches.ids) == len(set(matches.ids)) == len(expected)
            found = pairs(matches)
            assert all(score == model.score(query, id_) for id_, score in found)
            assert all(where is None or where.matches(model.attributes[id_]) for id_, _ in found)
            assert found == sorted(found, key=lambda match: (match[1], match[0]))
            recalls.append(np.mean([score <= expected[-1][1] for _, score in found]) if expected else 1.0)
            if type_ is IndexType.FLAT:
                assert found == expected
    assert np.mean(recalls) > 0.97
    assert collection.sequence == operations
    assert collection.vector_count == len(model.vectors)


@EVERY_TYPE
def test_a_history_leaves_what_a_dict_would_hold(type_: IndexType, tmp_path: Path) -> None:
    history_of(type_, 300, 1, tmp_path)


@pytest.mark.long
@EVERY_TYPE
def test_a_long_history_leaves_what_a_dict_would_hold(type_: IndexType, tmp_path: Path) -> None:
    history_of(type_, 10_000, 2, tmp_path)


@EVERY_TYPE
def test_a_cluster_that_was_deleted_does_not_hide_those_behind_it(type_: IndexType, tmp_path: Path) -> None:
    # More of the nearest are gone than the graph looks at, and than the lists hold that are probed.
    random = np.random.default_rng(5)
    near = 0.01 * random.standard_normal((1000, 8), np.float32)
    far = 100 + random.standard_normal((2000, 8), np.float32)
    collection = rebuilt(
        a_collection(an_index(8, type_=type_), numbered(np.concatenate((near, far)))), tmp_path / "s"
    )
    apply(collection, Delete([f"v{row}" for row in range(990)]))
    (matches,) = collection.view().search(np.zeros((1, 8), np.float32), 100)
    left = np.concatenate((near[990:], far))
    nearest = np.argsort((left**2).sum(axis=1))[:100]
    assert set(matches.ids[:10]) == {f"v{row}" for row in range(990, 1000)}
    assert set(matches.ids) == {f"v{row + 990}" for row in nearest}


@EVERY_TYPE
def test_a_filter_finds_all_it_can_however_few(type_: IndexType, tmp_path: Path) -> None:
    vectors = clustered(2000, 8)
    attributes = [{"rank": float(row)} for row in range(2000)]
    collection = rebuilt(
        a_collection(an_index(8, type_=type_), numbered(vectors, attributes)), tmp_path / "s"
    )
    view = collection.view()
    for bound in (0, 1, 7, 300, 1000, 2000):
        (matches,) = view.search(vectors[-1:], 100, parse(f"rank < {bound}"))
        exact = np.argsort(((vectors[:bound] - vectors[-1]) ** 2).sum(axis=1), kind="stable")[:100]
        found = {f"v{row}" for row in exact} & set(matches.ids)
        assert len(matches.ids) == min(bound, 100)
        assert len(found) >= 0.9 * len(exact)


@EVERY_TYPE
def test_more_matches_than_recall_was_measured_at_are_found_too(type_: IndexType, tmp_path: Path) -> None:
    vectors = clustered(2000, 8)
    budget = replace(GENEROUS, recall=0.95)
    collection = rebuilt(
        a_collection(an_index(8, type_=type_, budget=budget), numbered(vectors)), tmp_path / "s"
    )
    (matches,) = collection.view().search(vectors[:1], 1000)
    exact = np.argsort(((vectors - vectors[0]) ** 2).sum(axis=1))[:1000]
    assert len({f"v{row}" for row in exact} & set(matches.ids)) >= 950


def test_equal_scores_are_ordered_by_id_across_snapshot_and_changes(tmp_path: Path) -> None:
    same = {id_: [1.0, 0, 0, 0] for id_ in ("e", "b", "z", "c")}
    collection = rebuilt(a_collection(an_index(), an_upsert(same)), tmp_path / "s")
    apply(collection, an_upsert({id_: [1.0, 0, 0, 0] for id_ in ("d", "a", "y")}))
    (matches,) = collection.view().search(np.ones((1, 4), np.float32), 5)
    assert matches.ids == ["a", "b", "c", "d", "e"]


def test_a_vector_scores_the_same_alone_and_in_a_batch(tmp_path: Path) -> None:
    vectors = clustered(1000, 24)
    collection = rebuilt(a_collection(an_index(24, Metric.COSINE), numbered(vectors)), tmp_path / "s")
    apply(collection, Upsert(["new"], vectors[:1], [{}]))
    together = collection.view().search(vectors[:64], 10)
    for row, matches in enumerate(together):
        (alone,) = collection.view().search(vectors[row : row + 1], 10)
        assert pairs(alone) == pairs(matches)


def test_cosine_is_of_the_angle_whatever_the_length_of_the_query(tmp_path: Path) -> None:
    vectors = clustered(300, 8)
    collection = rebuilt(a_collection(an_index(8, Metric.COSINE), numbered(vectors[:200])), tmp_path / "s")
    apply(collection, Upsert([f"n{row}" for row in range(100)], vectors[200:], [{}] * 100))
    query = np.random.default_rng(0).standard_normal((1, 8)).astype(np.float32)
    for length in (1e-6, 1, 1e20):
        (matches,) = collection.view().search(np.float32(length) * query, 300)
        assert matches.scores == pytest.approx(np.sort(vectors @ unit(query)[0])[::-1], abs=1e-6)


def test_a_view_never_changes(tmp_path: Path) -> None:
    collection = rebuilt(
        a_collection(an_index(), an_upsert({"a": [0.0] * 4, "b": [1.0] * 4})), tmp_path / "s"
    )
    apply(collection, an_upsert({"c": [2.0] * 4}))
    before = collection.view()
    apply(collection, Delete(["a", "c"]), an_upsert({"b": [9.0] * 4, "d": [3.0] * 4}))
    query = np.zeros((1, 4), np.float32)
    (old,), (new,) = before.search(query, 9), collection.view().search(query, 9)
    assert pairs(old) == [("a", 0.0), ("b", 4.0), ("c", 16.0)]
    assert pairs(new) == [("d", 36.0), ("b", 324.0)]
    assert (before.sequence, collection.view().sequence) == (2, 4)
    assert before.snapshot_id == collection.view().snapshot_id == "s"
    assert collection.view() is collection.view()


def test_searches_in_threads_see_whole_changes_while_more_arrive(tmp_path: Path) -> None:
    """Every change moves two vectors to the same place: a search that saw half of one would find them apart."""
    collection = rebuilt(
        a_collection(an_index(), an_upsert({"a": [0.0] * 4, "b": [0.0] * 4})), tmp_path / "s"
    )
    views = [collection.view()]
    stop = threading.Event()
    torn: list[object] = []

    def search() -> None:
        query = np.zeros((1, 4), np.float32)
        while not stop.is_set():
            view = views[-1]
            (matches,) = view.search(query, 9, parse(f"at = {view.sequence - 1}"), True)
            if len(matches.ids) != 2 or len(set(matches.scores.tolist())) != 1:
                torn.append((view.sequence, matches))

    apply(collection, an_upsert({"a": [1.0] * 4, "b": [1.0] * 4}, {id_: {"at": 1.0} for id_ in "ab"}))
    views.append(collection.view())
    threads = [threading.Thread(target=search) for _ in range(2)]
    for thread in threads:
        thread.start()
    for _ in range(2000):
        at = float(collection.sequence)
        apply(collection, an_upsert({"a": [at] * 4, "b": [at] * 4}, {id_: {"at": at} for id_ in "ab"}))
        views.append(collection.view())
    stop.set()
    for thread in threads:
        thread.join()
    assert not torn


def test_an_id_written_over_and_over_takes_the_room_of_one() -> None:
    collection = a_collection(an_index())
    for number in range(5000):
        apply(collection, an_upsert({"a": [float(number % 7)] * 4}))
    assert (collection.vector_count, collection.unmerged_count) == (1, 5000)
    assert len(collection.view().overlay._pages.vectors) <= 512
    (matches,) = collection.view().search(np.zeros((1, 4), np.float32), 9)
    assert pairs(matches) == [("a", 4.0 * (4999 % 7) ** 2)]


def test_changes_come_in_sequence() -> None:
    collection = a_collection(an_index(), an_upsert({"a": [0.0] * 4}))
    for sequence in (0, 1, 3):
        with pytest.raises(ValueError, match=f"change {sequence} does not follow 1"):
            collection.apply(Entry(sequence, Delete(["a"])))
    assert collection.vector_count == 1


def test_rows_for_a_build_are_those_of_the_moment_they_were_taken(tmp_path: Path) -> None:
    collection = rebuilt(
        a_collection(an_index(), an_upsert({"a": [0.0] * 4, "b": [1.0] * 4})), tmp_path / "s"
    )
    apply(collection, an_upsert({"c": [2.0] * 4}))
    rows = collection.rows()
    apply(collection, Delete(["a", "c"]), an_upsert({f"n{number}": [3.0] * 4 for number in range(1000)}))
    assert len(rows) == 3
    assert sorted(rows.ids(rows.numbers())) == ["a", "b", "c"]


def test_a_collection_that_nobody_uses_is_freed_at_once(tmp_path: Path) -> None:
    collection = rebuilt(
        a_collection(an_index(), an_upsert({"a": [0.0] * 4}, {"a": {"x": "y"}})), tmp_path / "s"
    )
    collection.view().search(np.zeros((1, 4), np.float32), 1, parse("x = y"))
    snapshot = weakref.ref(collection.snapshot)
    gc.disable()  # a snapshot that waits for a collection of cycles is memory that is paid for twice
    try:
        del collection
        assert snapshot() is None
    finally:
        gc.enable()


def test_the_cost_of_a_search_grows_with_what_it_compares(tmp_path: Path) -> None:
    index = an_index(8, type_=IndexType.HNSW)
    source = a_collection(index, numbered(clustered(2000, 8)))
    manifest = replace(built(source, tmp_path / "s"), search_time_s=1e-6)
    collection = Collection(index, load(index, tmp_path / "s", manifest, CPU), CPU)
    before = collection.view()
    assert 2e-5 < before.cost_s(1, filtered=False) < before.cost_s(1, filtered=True)
    assert before.cost_s(10, filtered=False) == pytest.approx(10 * before.cost_s(1, filtered=False))
    assert before.cost_s(1, filtered=False, top_k=1000) > before.cost_s(1, filtered=False, top_k=100)
    apply(collection, numbered(clustered(500, 8)))
    assert collection.view().cost_s(1, filtered=False) > before.cost_s(1, filtered=False)
