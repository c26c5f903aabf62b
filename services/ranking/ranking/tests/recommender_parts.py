"""A recommender small enough to work out by hand, and the servers behind it that tests can hold, break and watch."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save

from trunkline.retrieval.v1 import retrieval_pb2 as pb
from trunkline_hop.errors import BadRequest, NotFound, Unimplemented

LENGTH, COUNT = 3, 12
INDEX = "books-0123abcd"
IDS = [f"b{number}" for number in range(COUNT)]
POPULAR = ["b7", "b3", "b0", "b9", "b1"]
EMBEDDINGS = np.random.default_rng(5).normal(size=(COUNT, 4)).astype(np.float32)
LIKED = np.linspace(-2, 2, COUNT, dtype=np.float32)
"""The first of an item's two features, which the ranker adds to the score of retrieval."""
GENRES = ["crime", "poetry"]

SIGNATURE: dict[str, Any] = {
    "task": "recommend",
    "index": INDEX,
    "dimension": 4,
    "metric": "inner_product",
    "candidates": 8,
    "entity_type": "reader",
    "history": {"items": "reader_history:books", "ratings": "reader_history:ratings", "length": LENGTH},
    "features": ["reader_activity:count", "reader_activity:mean"],
    "defaults": {"reader_activity:count": 0.0, "reader_activity:mean": 3.0},
    "popular_query": [1.0, 0.0, 0.0, 0.0],
}
VIEWS: list[dict[str, Any]] = [
    {
        "name": "reader_history",
        "entity_type": "reader",
        "ttl_s": 3600,
        "fields": [
            {"name": "books", "type": "STRING", "default": ""},
            {"name": "ratings", "type": "FLOAT32_VECTOR", "dimension": LENGTH, "default": None},
        ],
    },
    {
        "name": "reader_activity",
        "entity_type": "reader",
        "ttl_s": 3600,
        "fields": [
            {"name": "count", "type": "FLOAT64", "default": 0.0},
            {"name": "mean", "type": "FLOAT64", "default": 3.0},
        ],
    },
]
ALL_FEATURES = [
    "reader_activity:count",
    "reader_activity:mean",
    "reader_history:books",
    "reader_history:ratings",
]


def attributes(number: int) -> dict[str, str]:
    return {"genre": GENRES[number % 2]}


def of_genre(genre: str) -> list[str]:
    return [each for number, each in enumerate(IDS) if attributes(number)["genre"] == genre]


def expected_vector(books: Sequence[str], ratings: Sequence[float]) -> np.ndarray:
    """What the user tower answers."""
    rated = zip(books, ratings, strict=True)
    return sum((rating * EMBEDDINGS[IDS.index(book)] for book, rating in rated), np.zeros(4, np.float32))


def expected_score(item: str, nearness: float) -> float:
    """What the ranker answers; for an item that it does not know as if everybody hated it."""
    liked = LIKED[IDS.index(item)] if item in IDS else -3.0
    return float(1 / (1 + np.exp(-(liked + 0.1 * nearness))))


# ---- the artefact


def _model(nodes: list[Any], inputs: list[Any], outputs: list[Any], constants: dict[str, Any]) -> bytes:
    initializers = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    body = helper.make_graph(nodes, "test", inputs, outputs, initializers)
    opsets = [helper.make_opsetid("", 17)]
    return bytes(helper.make_model(body, opset_imports=opsets, ir_version=8).SerializeToString())


def _port(name: str, shape: list[Any], kind: int = TensorProto.FLOAT) -> Any:
    return helper.make_tensor_value_info(name, kind, shape)


def user_tower(
    length: int = LENGTH,
    columns: int = 2,
    dimension: int = 4,
    rating: int = TensorProto.FLOAT,
    unit: float = 1.0,
) -> bytes:
    """The sum of the items' vectors, each as often as its rating."""
    table = np.vstack([np.zeros((1, 4), np.float32), EMBEDDINGS * np.float32(unit)])[:, :dimension]
    table = np.pad(table, ((0, 0), (0, max(0, dimension - 4))))
    nodes = [
        helper.make_node("Gather", ["table", "history"], ["vectors"]),
        helper.make_node("Cast", ["ratings"], ["rated"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["rated", "last"], ["weights"]),
        helper.make_node("Mul", ["vectors", "weights"], ["weighted"]),
        helper.make_node("ReduceSum", ["weighted", "first"], ["embedding"], keepdims=0),
    ]
    inputs = [
        _port("history", ["N", length], TensorProto.INT64),
        _port("ratings", ["N", length], rating),
        _port("features", ["N", columns]),
    ]
    constants = {"table": table, "last": np.array([2]), "first": np.array([1])}
    return _model(nodes, inputs, [_port("embedding", ["N", dimension])], constants)


def item_tower(columns: Any = 3, dimension: int = 4, name: str = "content") -> bytes:
    nodes = [helper.make_node("MatMul", [name, "weights"], ["embedding"])]
    weights = np.ones((columns if isinstance(columns, int) else 3, dimension), np.float32)
    outputs = [_port("embedding", ["N", dimension])]
    return _model(nodes, [_port(name, ["N", columns])], outputs, {"weights": weights})


def ranker(columns: int = 2, item_columns: int = 2, output: str = "score", last: str = "Sigmoid") -> bytes:
    """sigmoid(liked + score of retrieval / 10), where what is missing counts as -3 and 0."""
    nodes = [
        helper.make_node("Gather", ["items", "zero"], ["liked"], axis=1),
        helper.make_node("IsNaN", ["liked"], ["unknown"]),
        helper.make_node("Where", ["unknown", "hated", "liked"], ["known"]),
        helper.make_node("IsNaN", ["scores"], ["unscored"]),
        helper.make_node("Where", ["unscored", "nothing", "scores"], ["scored"]),
        helper.make_node("Mul", ["scored", "tenth"], ["little"]),
        helper.make_node("Add", ["known", "little"], ["sum"]),
        helper.make_node(last, ["sum"], [output]),
    ]
    inputs = [
        _port("user", [1, columns]),
        _port("user_embedding", [1, 4]),
        _port("items", ["N", item_columns]),
        _port("scores", ["N"]),
    ]
    numbers = {"hated": -3.0, "nothing": 0.0, "tenth": 0.1}
    constants = {name: np.array(value, np.float32) for name, value in numbers.items()}
    return _model(nodes, inputs, [_port(output, ["N"])], constants | {"zero": np.array(0)})


def names(**changes: Any) -> dict[str, Any]:
    items = [
        {"id": each, "title": each.upper(), "attributes": attributes(number)}
        for number, each in enumerate(IDS)
    ]
    return {"items": items, "popular": POPULAR} | changes


def tensors(**changes: Any) -> dict[str, np.ndarray]:
    features = np.stack([LIKED, np.zeros_like(LIKED)], axis=1)
    return {"embeddings": EMBEDDINGS.copy(), "features": features} | changes


def artifact(**signature: Any) -> dict[str, bytes]:
    """The files of a version."""
    return {
        "signature.json": json.dumps(SIGNATURE | signature).encode(),
        "user_tower.onnx": user_tower(),
        "item_tower.onnx": item_tower(),
        "ranker.onnx": ranker(),
        "items.json": json.dumps(names()).encode(),
        "items.safetensors": save(tensors()),
    }


# ---- servers


def all_methods(servicer: type[Any]) -> type[Any]:
    """The servicer with every method of its contract that it lacks, refused."""

    async def refuse(self: Any, request: Any, call: Any) -> Any:
        raise Unimplemented("METHOD_UNKNOWN", "not in this test")

    for method in servicer.descriptor.methods:
        if not hasattr(servicer, method.name):
            setattr(servicer, method.name, refuse)
    return servicer


@all_methods
class NumpyIndex:
    """trunkline.retrieval.v1.VectorService's Search over a matrix; a filter is `genre = "..."`."""

    descriptor = pb.DESCRIPTOR.services_by_name["VectorService"]

    def __init__(self) -> None:
        self.vectors = dict(zip(IDS, EMBEDDINGS, strict=True))
        self.genres = {each: attributes(number)["genre"] for number, each in enumerate(IDS)}
        self.name = f"indexes/{INDEX}"
        self.requests: list[pb.SearchRequest] = []
        self.open = asyncio.Event()
        """Unset: searches wait."""
        self.open.set()
        self.waiting = asyncio.Event()
        self.dropped = asyncio.Event()
        """Set when a waiting search was cancelled."""
        self.answer: pb.SearchResponse | None = None
        """Given instead of the right one."""

    async def Search(self, request: pb.SearchRequest, call: Any) -> pb.SearchResponse:
        self.requests.append(request)
        if not self.open.is_set():
            self.waiting.set()
            try:
                await self.open.wait()
            except asyncio.CancelledError:
                self.dropped.set()
                raise
        if request.index != self.name:
            raise NotFound(
                "INDEX_UNKNOWN",
                f"no index {request.index}",
                resource_type="index",
                resource_name=request.index,
            )
        if self.answer is not None:
            return self.answer
        ids = self._filtered(request.filter)
        if not ids:
            return pb.SearchResponse(results=[pb.Matches()], snapshot=f"{self.name}/snapshots/1", sequence=7)
        matrix = np.stack([self.vectors[each] for each in ids])
        scores = matrix @ np.array(request.queries[0].values, np.float32)
        order = np.argsort(-scores, kind="stable")[: request.top_k]
        matches = pb.Matches(ids=[ids[place] for place in order], scores=scores[order])
        return pb.SearchResponse(results=[matches], snapshot=f"{self.name}/snapshots/1", sequence=7)

    def _filtered(self, text: str) -> list[str]:
        if not text:
            return list(self.vectors)
        match = re.fullmatch(r'genre = "([a-z]+)"', text)
        if match is None:
            raise BadRequest.field("filter", 'expected genre = "..."')
        return [each for each in self.vectors if self.genres.get(each) == match[1]]


class Hanging:
    """A service whose methods never answer."""

    def __init__(self, descriptor: Any) -> None:
        self.descriptor = descriptor
        self.asked = 0
        for method in descriptor.methods:
            setattr(self, method.name, self._hang)

    async def _hang(self, request: Any, call: Any) -> Any:
        self.asked += 1
        await asyncio.Event().wait()
