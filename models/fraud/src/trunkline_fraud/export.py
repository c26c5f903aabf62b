"""Writes the model as ONNX: `features` float32 [N, INPUTS] in, `probability` float32 [N] out."""

import numpy as np
import numpy.typing as npt
import onnx
import onnxmltools
import onnxruntime
import xgboost as xgb
from onnx import TensorProto, helper
from onnxmltools.convert.common.data_types import FloatTensorType

from trunkline_fraud.features import AMOUNT, DERIVED, DEVIATION, INPUTS, MEAN
from trunkline_fraud.recipe import predict

PARITY = 1e-5
"""Largest allowed difference between the graph's and XGBoost's probability."""
OPSET = 15
ML_OPSET = 3


def to_onnx(booster: xgb.Booster) -> bytes:
    """The graph: derived features as in `features.derive`, the trees, and the column of the class 1."""
    width = len(INPUTS) + len(DERIVED)
    converted = onnxmltools.convert_xgboost(
        booster,
        name="fraud",
        initial_types=[("wide", FloatTensorType([None, width]))],
        target_opset=OPSET,
    )
    (trees,) = (node for node in converted.graph.node if node.op_type.startswith("TreeEnsemble"))
    ensemble = helper.make_node(
        trees.op_type, ["wide"], ["label", "probabilities"], name="trees", domain="ai.onnx.ml"
    )
    ensemble.attribute.extend(sorted(trees.attribute, key=lambda attribute: attribute.name))
    constants = [
        helper.make_tensor("amount_column", TensorProto.INT64, [1], [AMOUNT]),
        helper.make_tensor("mean_column", TensorProto.INT64, [1], [MEAN]),
        helper.make_tensor("deviation_column", TensorProto.INT64, [1], [DEVIATION]),
        helper.make_tensor("fraud_class", TensorProto.INT64, [], [1]),
        helper.make_tensor("one", TensorProto.FLOAT, [], [1.0]),
    ]
    nodes = [
        helper.make_node("Gather", ["features", "amount_column"], ["amount"], axis=1),
        helper.make_node("Gather", ["features", "mean_column"], ["mean"], axis=1),
        helper.make_node("Gather", ["features", "deviation_column"], ["deviation"], axis=1),
        helper.make_node("Add", ["mean", "one"], ["mean_and_one"]),
        helper.make_node("Div", ["amount", "mean_and_one"], ["ratio"]),
        helper.make_node("Sub", ["amount", "mean"], ["above"]),
        helper.make_node("Add", ["deviation", "one"], ["deviation_and_one"]),
        helper.make_node("Div", ["above", "deviation_and_one"], ["deviations"]),
        helper.make_node("Concat", ["features", "ratio", "deviations"], ["wide"], axis=1),
        ensemble,
        helper.make_node("Gather", ["probabilities", "fraud_class"], ["probability"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "fraud",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["N", len(INPUTS)])],
        [helper.make_tensor_value_info("probability", TensorProto.FLOAT, ["N"])],
        constants,
    )
    model = helper.make_model(
        graph,
        producer_name="trunkline-model-fraud",
        opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", ML_OPSET)],
        ir_version=8,
    )
    onnx.checker.check_model(model, full_check=True)
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def score(model: bytes, rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """[N] probabilities of the graph for [N, INPUTS] filled rows, on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    answer: npt.NDArray[np.float32] = session.run(["probability"], {"features": rows})[0]
    return answer


def parity(model: bytes, booster: xgb.Booster, rows: npt.NDArray[np.float32]) -> float:
    """The largest absolute difference between graph and booster over the rows.

    Raises:
        ArithmeticError: when it is above PARITY.
    """
    difference = float(np.max(np.abs(score(model, rows) - predict(booster, rows))))
    if not difference <= PARITY:
        raise ArithmeticError(f"the graph differs from XGBoost by {difference:.2e}, more than {PARITY:.0e}")
    return difference
