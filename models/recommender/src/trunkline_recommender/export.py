"""Writes towers and ranker as ONNX, and runs the graphs.

user_tower   history int64 [N, L], ratings float32 [N, L], features float32 [N, F] -> embedding [N, D]
item_tower   content float32 [N, C] -> embedding [N, D]
ranker       user float32 [1, F], user_embedding float32 [1, D], items float32 [N, I], scores float32 [N]
             -> score [N]
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxmltools
import onnxruntime
import xgboost as xgb
from onnx import TensorProto, helper, numpy_helper
from onnxmltools.convert.common.data_types import FloatTensorType

from trunkline_recommender.history import BASE_FIELDS
from trunkline_recommender.ranker import ITEM_FIELDS, Columns
from trunkline_recommender.recipe import Trained
from trunkline_recommender.towers import Towers

PARITY = 1e-4
"""Largest allowed difference, relative to the largest value, between a graph and what it was made from."""
OPSET = 15
ML_OPSET = 3
FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


@dataclass(frozen=True, slots=True)
class Graphs:
    """The three graphs of a recommender, serialised."""

    user_tower: bytes
    item_tower: bytes
    ranker: bytes


def graphs(trained: Trained) -> Graphs:
    """What a trained recommender is served from."""
    return Graphs(
        user_tower(trained.towers),
        item_tower(trained.towers),
        ranker(trained.booster, trained.columns, trained.parameters.dimension),
    )


def user_tower(towers: Towers) -> bytes:
    """`Towers.readers` as a graph."""
    length, features = len(towers.position_weights), len(towers.feature_mean)
    table = np.vstack([np.zeros_like(towers.inputs[:1]), towers.inputs])
    nodes = [
        helper.make_node("Round", ["ratings"], ["rounded"]),
        helper.make_node("Clip", ["rounded", "no_stars", "most_stars"], ["clipped"]),
        helper.make_node("Cast", ["clipped"], ["stars"], to=INT64),
        helper.make_node("Gather", ["star_weights", "stars"], ["by_stars"], axis=0),
        helper.make_node("Greater", ["history", "padding"], ["known"]),
        helper.make_node("Cast", ["known"], ["known_as_number"], to=FLOAT),
        helper.make_node("Mul", ["by_stars", "known_as_number"], ["by_book"]),
        helper.make_node("Greater", ["by_book", "no_stars"], ["counts"]),
        helper.make_node("Cast", ["counts"], ["counts_as_number"], to=FLOAT),
        helper.make_node("ReduceSum", ["counts_as_number", "last_axis"], ["count"], keepdims=1),
        helper.make_node("Max", ["count", "one"], ["at_least_one"]),
        helper.make_node("Sqrt", ["at_least_one"], ["root"]),
        helper.make_node("Mul", ["by_book", "position_weights"], ["by_position"]),
        helper.make_node("Div", ["by_position", "root"], ["weights"]),
        helper.make_node("Unsqueeze", ["weights", "middle_axis"], ["weights_as_rows"]),
        helper.make_node("Gather", ["books", "history"], ["read"], axis=0),
        helper.make_node("MatMul", ["weights_as_rows", "read"], ["sum_as_rows"]),
        helper.make_node("Squeeze", ["sum_as_rows", "middle_axis"], ["of_history"]),
        helper.make_node("Sub", ["features", "feature_mean"], ["centred"]),
        helper.make_node("Mul", ["centred", "feature_scale"], ["standard"]),
        helper.make_node("MatMul", ["standard", "feature_inputs"], ["of_features"]),
        helper.make_node("Add", ["of_history", "of_features"], ["embedding"]),
    ]
    constants = {
        "no_stars": np.float32(0.0),
        "most_stars": np.float32(5.0),
        "one": np.float32(1.0),
        "padding": np.int64(0),
        "last_axis": np.array([1], np.int64),
        "middle_axis": np.array([1], np.int64),
        "star_weights": towers.star_weights,
        "position_weights": towers.position_weights,
        "books": table,
        "feature_mean": towers.feature_mean,
        "feature_scale": towers.feature_scale,
        "feature_inputs": towers.feature_inputs,
    }
    inputs = [
        helper.make_tensor_value_info("history", INT64, ["N", length]),
        helper.make_tensor_value_info("ratings", FLOAT, ["N", length]),
        helper.make_tensor_value_info("features", FLOAT, ["N", features]),
    ]
    output = helper.make_tensor_value_info("embedding", FLOAT, ["N", towers.items.shape[1]])
    return _model("user_tower", nodes, inputs, output, constants)


def item_tower(towers: Towers) -> bytes:
    """`Towers.books` as a graph."""
    nodes = [
        helper.make_node("MatMul", ["content", "content_inputs"], ["of_content"]),
        helper.make_node("Add", ["of_content", "content_bias"], ["embedding"]),
    ]
    constants = {"content_inputs": towers.content_inputs, "content_bias": towers.content_bias}
    inputs = [helper.make_tensor_value_info("content", FLOAT, ["N", len(towers.content_inputs)])]
    output = helper.make_tensor_value_info("embedding", FLOAT, ["N", towers.items.shape[1]])
    return _model("item_tower", nodes, inputs, output, constants)


def ranker(booster: xgb.Booster, columns: Columns, dimension: int) -> bytes:
    """`Columns.wide` and the trees as a graph."""
    converted = onnxmltools.convert_xgboost(
        booster,
        name="ranker",
        initial_types=[("wide", FloatTensorType([None, len(columns.names)]))],
        target_opset=OPSET,
    )
    (trees,) = (node for node in converted.graph.node if node.op_type.startswith("TreeEnsemble"))
    ensemble = helper.make_node(
        trees.op_type, ["wide"], ["label", "probabilities"], name="trees", domain="ai.onnx.ml"
    )
    ensemble.attribute.extend(sorted(trees.attribute, key=lambda attribute: attribute.name))
    parts = ["users", "items", "score_column", "lengths", "year_gap", "popularity_gap"]
    nodes = [
        helper.make_node("Unsqueeze", ["scores", "column_axis"], ["score_column"]),
        helper.make_node("Shape", ["score_column"], ["shape"]),
        helper.make_node("Expand", ["user", "shape"], ["users"]),
        helper.make_node("ReduceL2", ["user_embedding"], ["length"], axes=[1], keepdims=1),
        helper.make_node("Expand", ["length", "shape"], ["lengths"]),
    ]
    for name in ("year", "popularity"):
        nodes += [
            helper.make_node("Gather", ["items", f"item_{name}"], [f"{name}_of_item"], axis=1),
            helper.make_node("Gather", ["user", f"user_{name}"], [f"{name}_of_user"], axis=1),
            helper.make_node("Sub", [f"{name}_of_item", f"{name}_of_user"], [f"{name}_gap"]),
        ]
    constants: dict[str, Any] = {
        "column_axis": np.array([1], np.int64),
        "liked_class": np.int64(1),
        "item_year": np.array([ITEM_FIELDS.index("year")], np.int64),
        "user_year": np.array([BASE_FIELDS.index("mean_year")], np.int64),
        "item_popularity": np.array([ITEM_FIELDS.index("popularity")], np.int64),
        "user_popularity": np.array([BASE_FIELDS.index("mean_popularity")], np.int64),
    }
    if columns.genres:
        parts.append("affinity")
        nodes += [
            helper.make_node("Gather", ["items", "item_genres"], ["genre_of_item"], axis=1),
            helper.make_node("Gather", ["user", "user_genres"], ["genres_of_user"], axis=1),
            helper.make_node("Mul", ["genre_of_item", "genres_of_user"], ["affinities"]),
            helper.make_node("ReduceSum", ["affinities", "column_axis"], ["affinity"], keepdims=1),
        ]
        place = np.arange(len(columns.genres), dtype=np.int64)
        constants |= {"item_genres": len(ITEM_FIELDS) + place, "user_genres": len(BASE_FIELDS) + place}
    nodes += [
        helper.make_node("Concat", parts, ["wide"], axis=1),
        ensemble,
        helper.make_node("Gather", ["probabilities", "liked_class"], ["score"], axis=1),
    ]
    inputs = [
        helper.make_tensor_value_info("user", FLOAT, [1, len(columns.activity)]),
        helper.make_tensor_value_info("user_embedding", FLOAT, [1, dimension]),
        helper.make_tensor_value_info("items", FLOAT, ["N", len(columns.items)]),
        helper.make_tensor_value_info("scores", FLOAT, ["N"]),
    ]
    return _model("ranker", nodes, inputs, helper.make_tensor_value_info("score", FLOAT, ["N"]), constants)


def _model(
    name: str, nodes: Sequence[Any], inputs: Sequence[Any], output: Any, constants: Mapping[str, Any]
) -> bytes:
    graph = helper.make_graph(
        nodes,
        name,
        inputs,
        [output],
        [numpy_helper.from_array(np.asarray(value), key) for key, value in constants.items()],
    )
    model = helper.make_model(
        graph,
        producer_name="trunkline-model-recommender",
        opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", ML_OPSET)],
        ir_version=8,
    )
    onnx.checker.check_model(model, full_check=True)
    content: bytes = model.SerializeToString(deterministic=True)
    return content


class Graph:
    """A graph on one thread."""

    def __init__(self, model: bytes) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def __call__(self, **inputs: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """The only output."""
        answer: npt.NDArray[np.float32] = self._session.run(None, inputs)[0]
        return answer


def difference(found: npt.NDArray[np.float32], expected: npt.NDArray[np.float32], what: str) -> float:
    """The largest difference, relative to the largest expected value.

    Raises:
        ArithmeticError: when it is above PARITY.
    """
    relative = float(np.max(np.abs(found - expected)) / max(float(np.max(np.abs(expected))), 1e-12))
    if not relative <= PARITY:
        raise ArithmeticError(f"the graph of {what} differs by {relative:.2e}, more than {PARITY:.0e}")
    return relative
