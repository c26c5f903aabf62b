"""A fraud model on ONNX Runtime."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trunkline_modelstore import LocalVersion
from trunkline_ranking import fraud_signature, graph
from trunkline_ranking.fraud_signature import FraudSignature
from trunkline_ranking.graph import Port
from trunkline_ranking.signature import Fields

GRAPH = "model.onnx"
FILES = (GRAPH,)
_INPUT, _OUTPUT = "features", "probability"
_WARM_ROWS = (1, 64)


@dataclass(frozen=True, slots=True)
class FraudModel:
    """Boosted trees over one row of features a transaction."""

    signature: FraudSignature
    session: Any
    size_bytes: int
    """Bytes of the graph, which the trees in memory are close to."""

    def probabilities(self, rows: NDArray[np.float64]) -> NDArray[np.float32]:
        """Probability of fraud of each row.

        Args:
            rows: [rows, columns], columns as the signature names them. What no float32 can hold counts as
                the largest one.

        Raises:
            OutputError: the model answered with something else than one probability a row.
        """
        (output,) = self.session.run([_OUTPUT], {_INPUT: graph.clip(rows)})
        return graph.probabilities(output, len(rows))

    def warm(self) -> None:
        """Runs one row, and a batch, of defaults: what they take the first time is not a caller's to wait for."""
        defaults = self.signature.defaults
        row = [defaults.get(name, 0.0) for name in self.signature.inputs]
        for rows in _WARM_ROWS:
            self.probabilities(np.array([row] * rows))


def load(version: LocalVersion, fields: Fields) -> FraudModel:
    """A fraud model of `model.onnx`: `features` float32 [N, columns] -> `probability` float32 [N].

    Raises:
        NotAllowed: MODEL_REFUSED: the graph is another.
        SignatureError: the signature makes no sense.
    """
    signature = fraud_signature.parse(fields)
    inputs = [Port(_INPUT, (None, len(signature.inputs)))]
    session = graph.open_graph(version, GRAPH, inputs, [Port(_OUTPUT, (None,))])
    return FraudModel(signature, session, version.files[GRAPH].stat().st_size)
