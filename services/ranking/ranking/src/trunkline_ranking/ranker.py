"""A recommender's graphs, run for one user."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from trunkline_ranking.inference import Run
from trunkline_ranking.items import UNKNOWN
from trunkline_ranking.recommender_model import RecommenderModel
from trunkline_ranking.user import User


class Ranker:
    """Says what a user thinks of items.

    Args:
        model: whose graphs.
        user: for whom.
        run: what measures them.

    Raises:
        Internal: the user tower failed.
    """

    def __init__(self, model: RecommenderModel, user: User, run: Run) -> None:
        self._model = model
        self._user = user
        self._run = run
        history = user.history
        self.embedding: NDArray[np.float32] = (
            model.signature.popular_query
            if history is None
            else run.compute("compute.user_tower", lambda: model.embed(history, user.features))
        )
        """[dimension] the user's vector; for one that nobody knows, the vector that finds what is popular."""

    def nearness(self, ids: Sequence[str]) -> NDArray[np.float32]:
        """[ids] what retrieval would say of these items; NaN for those that the artefact does not know."""
        return self._model.nearness(self.embedding, self._rows(ids))

    def score(self, ids: Sequence[str], nearness: NDArray[np.float32]) -> NDArray[np.float32]:
        """[ids] probability that the user likes each item.

        Args:
            ids: of the items; the artefact need not know them.
            nearness: [ids] what retrieval says of them.

        Raises:
            Internal: the ranker failed.
        """
        rows = self._rows(ids)
        model, user = self._model, self._user
        return self._run.compute(
            "compute.ranker", lambda: model.rank(user.features, self.embedding, rows, nearness)
        )

    def _rows(self, ids: Sequence[str]) -> NDArray[np.int64]:
        rows = self._model.items.rows
        return np.array([rows.get(each, UNKNOWN) for each in ids], np.int64)
