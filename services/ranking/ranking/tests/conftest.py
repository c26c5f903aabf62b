"""The servers ranking stands between, and small models that tests make."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from onnx import TensorProto, helper

sys.path.insert(0, str(Path(__file__).parent))  # importlib mode leaves the tests' own parts out of it
import recommender_parts as parts
from ranking_suite import Suite, opened, until

from trunkline_local.embedded import Valkey
from trunkline_modelstore import LocalVersion

ARTIFACT = next(
    parent / "models/fraud/artifact"
    for parent in Path(__file__).parents
    if (parent / "constraints.txt").exists()
)
SIGNATURE: dict[str, Any] = {
    "task": "score_transaction",
    "entity_types": {"customer_activity": "customer", "terminal_activity": "terminal"},
    "inputs": ["request:amount", "customer_activity:count_1d", "terminal_activity:risk_1d"],
    "defaults": {"customer_activity:count_1d": 3.0, "terminal_activity:risk_1d": 0.25},
    "thresholds": {"review": 0.5, "decline": 0.75},
}


def graph(columns: int = 3, **changes: Any) -> bytes:
    """A model that answers with the sigmoid of the sum of its columns, or something broken."""
    inputs = [
        helper.make_tensor_value_info(
            changes.get("input", "features"),
            changes.get("type", TensorProto.FLOAT),
            changes.get("shape", ["N", columns]),
        )
    ]
    output = changes.get("output", "probability")
    outputs = [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["N"])]
    nodes = [
        helper.make_node("ReduceSum", [inputs[0].name, "axes"], ["sum"], keepdims=0),
        helper.make_node(changes.get("function", "Sigmoid"), ["sum"], [output]),
    ]
    axes = helper.make_tensor("axes", TensorProto.INT64, [1], [1])
    body = helper.make_graph(nodes, "test", inputs, outputs, [axes])
    opset = helper.make_opsetid("", changes.get("opset", 17))
    return bytes(helper.make_model(body, opset_imports=[opset], ir_version=8).SerializeToString())


@pytest.fixture
def local(tmp_path: Path) -> Callable[..., LocalVersion]:
    """A version on disk made of a graph and a signature; bytes, or None for a missing file."""

    def make(model: bytes | None = None, signature: Any = SIGNATURE, **changes: Any) -> LocalVersion:
        contents = {"model.onnx": graph(**changes) if model is None else model}
        if signature is not None:
            contents["signature.json"] = (
                signature if isinstance(signature, bytes) else json.dumps(signature).encode()
            )
        return on_disk("models/fraud/versions/1", contents, tmp_path)

    return make


def on_disk(name: str, contents: Mapping[str, bytes], directory: Path) -> LocalVersion:
    """A version with these files."""
    for path, content in contents.items():
        (directory / path).write_bytes(content)
    return LocalVersion(name, "d" * 64, directory, {path: directory / path for path in contents}, 1)


@pytest.fixture
def recommender(tmp_path: Path) -> Callable[..., LocalVersion]:
    """A recommender's version on disk; a keyword replaces a file (dots and slashes as `_`), None leaves it out."""

    def make(**changes: bytes | None) -> LocalVersion:
        contents = {path: changes.get(path.replace(".", "_"), now) for path, now in parts.artifact().items()}
        kept = {path: content for path, content in contents.items() if content is not None}
        return on_disk("models/recommender/versions/1", kept, tmp_path)

    return make


VIEWS = [
    {
        "name": "customer_activity",
        "entity_type": "customer",
        "ttl_s": 3600,
        "fields": [{"name": "count_1d", "type": "FLOAT64", "default": 0.5}],
    },
    {
        "name": "terminal_activity",
        "entity_type": "terminal",
        "ttl_s": 3600,
        "fields": [{"name": "risk_1d", "type": "FLOAT64"}],
    },
]


@pytest.fixture(name="until")
def until_fixture() -> Callable[[Callable[[], Awaitable[Any]]], Awaitable[Any]]:
    return until


@pytest.fixture(name="graph")
def graph_fixture() -> Callable[..., bytes]:
    return graph


@pytest.fixture
def signature() -> dict[str, Any]:
    return json.loads(json.dumps(SIGNATURE))  # a copy to change


@pytest.fixture
def files(signature: dict[str, Any]) -> dict[str, bytes]:
    """A version whose score is easy to work out."""
    return {"model.onnx": graph(), "signature.json": json.dumps(signature).encode()}


@pytest.fixture
def artifact() -> dict[str, bytes]:
    """The fraud model that ships."""
    return {name: (ARTIFACT / name).read_bytes() for name in ("model.onnx", "signature.json", "views.json")}


@pytest.fixture
async def empty_suite(valkey: Valkey, database: str, tmp_path: Path) -> AsyncIterator[Suite]:
    """The servers, with no view and no model."""
    async with opened(valkey, database, tmp_path, ("features", "registry", "retrieval", "ranking")) as suite:
        yield suite


@pytest.fixture
async def suite(empty_suite: Suite, files: dict[str, bytes]) -> Suite:
    """The servers, with two views and a version in production."""
    await empty_suite.declare(VIEWS)
    await empty_suite.publish(files)
    await empty_suite.serving("ranking")
    return empty_suite


@pytest.fixture
async def books(
    valkey: Valkey, database: str, tmp_path: Path, files: dict[str, bytes]
) -> AsyncIterator[Suite]:
    """The servers, with a recommender and a fraud model in production, and one reader: r1 read b2 and b5."""
    models = "models/fraud,models/recommender"
    async with opened(
        valkey, database, tmp_path, ("features", "registry", "retrieval"), models=models
    ) as suite:
        await suite.declare(VIEWS + parts.VIEWS)
        await suite.publish(files)
        await suite.publish(parts.artifact(), "recommender")
        await suite.write("reader_history", "r1", books="b2 b5", ratings=[5.0, 2.0, 0.0])
        await suite.write("reader_activity", "r1", count=2.0, mean=3.5)
        await suite.start("ranking")
        await suite.serving("ranking")
        yield suite
