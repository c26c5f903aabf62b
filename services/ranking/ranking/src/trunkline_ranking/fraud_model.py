"""A fraud model on ONNX Runtime."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from trunkline_modelstore import LocalVersion, refused
from trunkline_ranking.signature import Signature, SignatureError, parse

GRAPH = "model.onnx"
SIGNATURE = "signature.json"
_INPUT, _OUTPUT = "features", "probability"
_LARGEST = float(np.finfo(np.float32).max)
_WARM_ROWS = (1, 64)
_ERRORS = 3
"""ONNX Runtime's log level: errors only, the rest is no concern of an operator."""


class OutputError(ArithmeticError):
    """A model answered with something that is no probability."""


@dataclass(frozen=True, slots=True)
class FraudModel:
    """Boosted trees over one row of features a transaction."""

    signature: Signature
    session: Any
    size_bytes: int

    def probabilities(self, rows: NDArray[np.float64]) -> NDArray[np.float32]:
        """Probability of fraud of each row.

        Args:
            rows: [rows, columns], columns as the signature names them. What no float32 can hold counts as
                the largest one.

        Raises:
            OutputError: the model answered with something else than one probability a row.
        """
        inputs = np.clip(rows, -_LARGEST, _LARGEST).astype(np.float32)
        (output,) = self.session.run([_OUTPUT], {_INPUT: inputs})
        # NaN fails the comparison as well.
        if output.shape != (len(rows),) or not bool(np.all((output >= 0) & (output <= 1))):
            raise OutputError("no probability")
        return np.asarray(output, dtype=np.float32)


class FraudLoader:
    """Makes fraud models out of `model.onnx` and `signature.json`; refuses what does not fit together."""

    def load(self, version: LocalVersion) -> FraudModel:
        """See `Loader.load`. The graph must be `features` float32 [N, columns] -> `probability` float32 [N]."""
        if missing := {GRAPH, SIGNATURE} - set(version.files):
            raise refused(version.name, f"it has no {' and no '.join(sorted(missing))}")
        try:
            signature = parse(version.files[SIGNATURE].read_bytes())
        except SignatureError as error:
            raise refused(version.name, str(error)) from error
        graph = version.files[GRAPH].read_bytes()
        session = self._session(version.name, graph)
        _check(version.name, session, len(signature.inputs))
        return FraudModel(signature, session, len(graph))

    def _session(self, name: str, graph: bytes) -> Any:
        options = onnxruntime.SessionOptions()
        # One call is one row: threads and their hand-over would cost more than the trees.
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.log_severity_level = _ERRORS
        try:
            return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        except MemoryError:
            raise
        except Exception as error:
            # ONNX Runtime has an exception class a status: a broken file, a graph that makes no sense, an
            # operator or opset it does not know. None of them changes by trying again.
            raise refused(name, f"ONNX Runtime does not take {GRAPH}: {error}") from error

    def warm(self, model: FraudModel) -> None:
        """Runs one row, and a batch, of defaults: what they take the first time is not a caller's to wait for."""
        defaults = model.signature.defaults
        row = [defaults.get(name, 0.0) for name in model.signature.inputs]
        for rows in _WARM_ROWS:
            model.probabilities(np.array([row] * rows))

    def size_bytes(self, model: FraudModel) -> int:
        """Bytes of the graph, which the trees in memory are close to."""
        return model.size_bytes

    def unload(self, model: FraudModel) -> None:
        """Nothing to do: ONNX Runtime frees a session with its last reference."""


def _check(name: str, session: Any, columns: int) -> None:
    inputs = [(node.name, node.type, node.shape) for node in session.get_inputs()]
    outputs = [(node.name, node.type, node.shape) for node in session.get_outputs()]
    if [entry[:2] for entry in inputs] != [(_INPUT, "tensor(float)")]:
        raise refused(name, f"its inputs are {inputs}, expected {_INPUT}: float32 [N, {columns}]")
    shape = inputs[0][2]
    if len(shape) != 2 or isinstance(shape[0], int) or shape[1] != columns:
        raise refused(name, f"its input has shape {shape}, but signature.json names {columns} columns")
    if (_OUTPUT, "tensor(float)") not in [entry[:2] for entry in outputs]:
        raise refused(name, f"its outputs are {outputs}, expected {_OUTPUT}: float32 [N]")
