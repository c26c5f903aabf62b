"""An ONNX graph of a version, opened only when it takes and gives what its task says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from trunkline_modelstore import LocalVersion, refused

FLOAT32 = "tensor(float)"
INT64 = "tensor(int64)"
_TYPES = {FLOAT32: "float32", INT64: "int64"}
_ERRORS = 3
"""ONNX Runtime's log level: errors only, the rest is no concern of an operator."""
_LARGEST = float(np.finfo(np.float32).max)

Shape = tuple[int | None, ...]
"""None is a length that changes from run to run, ANY one that the graph fixes."""
ANY = 0


class OutputError(ArithmeticError):
    """A model answered with something that cannot be."""


@dataclass(frozen=True, slots=True)
class Port:
    """An input or output."""

    name: str
    shape: Shape
    type: str = FLOAT32

    def fits(self, node: Any) -> bool:
        """Whether ONNX Runtime's description of a port is this one. Length 1 may be left open as well."""
        return (
            (node.name, node.type) == (self.name, self.type)
            and len(node.shape) == len(self.shape)
            and all(map(_same, self.shape, node.shape))
        )

    def __str__(self) -> str:
        return _describe(self.name, self.type, self.shape)


def _same(expected: int | None, actual: Any) -> bool:
    if not isinstance(actual, int):
        return expected is None or expected == 1
    return expected in (actual, ANY)


def _describe(name: str, kind: str, shape: Sequence[Any]) -> str:
    lengths = ", ".join("any" if length == ANY else str(length or "N") for length in shape)
    return f"{name}: {_TYPES.get(kind, kind)} [{lengths}]"


def open_graph(
    version: LocalVersion, file: str, inputs: Sequence[Port], outputs: Sequence[Port]
) -> onnxruntime.InferenceSession:
    """The session of one of a version's graphs.

    Args:
        version: whose file it is.
        file: its name.
        inputs: exactly what the graph must take.
        outputs: what it must give; more does no harm.

    Raises:
        NotAllowed: MODEL_REFUSED: ONNX Runtime does not take it, or it is another graph.
    """
    session = _session(version, file)
    taken, given = session.get_inputs(), session.get_outputs()
    if len(taken) != len(inputs) or not all(any(port.fits(node) for node in taken) for port in inputs):
        raise refused(version.name, f"{file} takes {_listed(taken)}; expected {_expected(inputs)}")
    if not all(any(port.fits(node) for node in given) for port in outputs):
        raise refused(version.name, f"{file} gives {_listed(given)}; expected {_expected(outputs)}")
    return session


def _listed(nodes: Sequence[Any]) -> str:
    return ", ".join(_describe(node.name, node.type, node.shape) for node in nodes)


def _expected(ports: Sequence[Port]) -> str:
    return ", ".join(map(str, ports))


def _session(version: LocalVersion, file: str) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    # One call is a few rows: threads and their hand-over would cost more than the run.
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = _ERRORS
    content = version.files[file].read_bytes()
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except MemoryError:
        raise
    except Exception as error:
        # ONNX Runtime has an exception class a status: a broken file, a graph that makes no sense, an
        # operator or opset it does not know. None of them changes by trying again.
        raise refused(version.name, f"ONNX Runtime does not take {file}: {error}") from error


def clip(values: NDArray[np.float64]) -> NDArray[np.float32]:
    """As float32; what none can hold counts as the largest one."""
    return np.clip(values, -_LARGEST, _LARGEST).astype(np.float32)


def probabilities(output: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """An output, when it is one probability a row.

    Raises:
        OutputError: it is something else.
    """
    # NaN fails the comparison as well.
    if output.shape != (count,) or not bool(np.all((output >= 0) & (output <= 1))):
        raise OutputError("no probability")
    return output
