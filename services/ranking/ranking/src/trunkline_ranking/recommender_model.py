"""Two towers and a ranker on ONNX Runtime, with the items they were trained on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trunkline_modelstore import LocalVersion
from trunkline_ranking import graph, items, recommender_signature
from trunkline_ranking.graph import ANY, INT64, OutputError, Port
from trunkline_ranking.history import History
from trunkline_ranking.items import Items
from trunkline_ranking.recommender_signature import RecommenderSignature
from trunkline_ranking.signature import Fields

USER_TOWER = "user_tower.onnx"
ITEM_TOWER = "item_tower.onnx"
RANKER = "ranker.onnx"
FILES = (USER_TOWER, ITEM_TOWER, RANKER, items.NAMES, items.TENSORS)


@dataclass(frozen=True, slots=True)
class RecommenderModel:
    """From a user to a vector, and from a user and items to probabilities."""

    signature: RecommenderSignature
    items: Items
    tower: Any
    ranker: Any
    size_bytes: int

    def embed(self, history: History, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """[dimension] vector of a user, whose inner product with an item's says how near they are.

        Args:
            history: of the user.
            features: [1, F] as the signature names them.

        Raises:
            OutputError: the tower answered with something else than a vector.
        """
        inputs = {"history": history.rows, "ratings": history.ratings, "features": features}
        (output,) = self.tower.run(["embedding"], inputs)
        if output.shape != (1, self.signature.dimension) or not np.isfinite(output).all():
            raise OutputError("no vector")
        return np.asarray(output[0], dtype=np.float32)

    def nearness(self, embedding: NDArray[np.float32], rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """[rows] what retrieval would say of these items: inner products; NaN for UNKNOWN rows."""
        return np.asarray(self.items.embeddings[rows] @ embedding, dtype=np.float32)

    def rank(
        self,
        features: NDArray[np.float32],
        embedding: NDArray[np.float32],
        rows: NDArray[np.int64],
        nearness: NDArray[np.float32],
    ) -> NDArray[np.float32]:
        """[rows] probability that the user likes each item.

        Args:
            features: [1, F] of the user.
            embedding: [dimension] of the user.
            rows: of the items; `items.UNKNOWN` for those that the artefact does not know.
            nearness: [rows] what retrieval says of each.

        Raises:
            OutputError: the ranker answered with something else than one probability a row.
        """
        inputs = {
            "user": features,
            "user_embedding": embedding[None, :],
            "items": self.items.features[rows],
            "scores": nearness,
        }
        (output,) = self.ranker.run(["score"], inputs)
        return graph.probabilities(output, len(rows))

    def warm(self) -> None:
        """Runs tower and ranker as a request does: what they take the first time is not a caller's to wait for."""
        signature = self.signature
        history = np.zeros((1, signature.length), np.int64)
        history[0, 0] = 1
        features = graph.clip(np.array([[signature.defaults[name] for name in signature.features]]))
        embedding = self.embed(History(history, (history * 5).astype(np.float32)), features)
        for count in (1, signature.candidates):
            # All items in turn, and the unknown one.
            rows = np.arange(count) % len(self.items.features)
            self.rank(features, embedding, rows, self.nearness(embedding, rows))


def load(version: LocalVersion, fields: Fields) -> RecommenderModel:
    """A recommender of its graphs and items, every one of them checked.

    Raises:
        NotAllowed: MODEL_REFUSED: a file is malformed or does not fit to the others.
        SignatureError: the signature makes no sense.
    """
    signature = recommender_signature.parse(fields)
    dimension, columns = signature.dimension, len(signature.features)
    known = items.load(version, dimension)
    vector = Port("embedding", (None, dimension))
    tower = graph.open_graph(
        version,
        USER_TOWER,
        [
            Port("history", (None, signature.length), INT64),
            Port("ratings", (None, signature.length)),
            Port("features", (None, columns)),
        ],
        [vector],
    )
    ranker = graph.open_graph(
        version,
        RANKER,
        [
            Port("user", (1, columns)),
            Port("user_embedding", (1, dimension)),
            Port("items", (None, known.features.shape[1])),
            Port("scores", (None,)),
        ],
        [Port("score", (None,))],
    )
    # It is not run here; but whoever adds items to the index takes it from the version that serves.
    graph.open_graph(version, ITEM_TOWER, [Port("content", (None, ANY))], [vector])
    size_bytes = known.size_bytes + sum(
        version.files[name].stat().st_size for name in (USER_TOWER, RANKER, items.NAMES)
    )
    return RecommenderModel(signature, known, tower, ranker, size_bytes)
