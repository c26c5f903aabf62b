"""Given items in the order of the ranker."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trunkline_modelstore import ModelStore
from trunkline_ranking.inference import Inference
from trunkline_ranking.model import Model, of_task
from trunkline_ranking.ranker import Ranker
from trunkline_ranking.recommender_model import RecommenderModel
from trunkline_ranking.user import Remaining, Users


@dataclass(frozen=True, slots=True)
class Ranked:
    """The answer."""

    items: Sequence[tuple[str, float]]
    """Each item with the probability that the user likes it, the best first."""
    unknown: tuple[str, ...]
    """Items that the artefact does not know, in the order given."""
    defaulted: tuple[str, ...]
    """Features whose value was a default or stale."""
    version: str
    """Which version of which model answered."""
    features_unavailable: bool
    """True when the feature store could not be asked."""


@dataclass(frozen=True, slots=True)
class Ranking:
    """Ranks items with the models of a store for the users of another."""

    models: ModelStore[Model]
    users: Users
    inference: Inference

    async def rank(
        self, model_name: str, user_id: str, item_ids: Sequence[str], remaining: Remaining
    ) -> Ranked:
        """Ranks items; equal ones stay in the order given. Unknown ones are ranked by the user alone.

        Args:
            model_name: `models/{model}` for the version in force, or a version's name.
            user_id: for whom.
            item_ids: what.
            remaining: time left for the answer.

        Raises:
            Fault: the model cannot be leased (see `ModelStore.lease`), is for another task, or fails.
        """
        async with self.models.lease(model_name) as lease:
            model = of_task(lease, RecommenderModel)
            user = await self.users.read(model, user_id, remaining)
            run = self.inference.begin(lease.version)
            ranker = Ranker(model, user, run)
            scores = ranker.score(item_ids, ranker.nearness(item_ids))
            order = np.argsort(-scores, kind="stable").tolist()
            probabilities = scores.tolist()
            run.finish(probabilities)
            return Ranked(
                [(item_ids[place], probabilities[place]) for place in order],
                tuple(each for each in item_ids if each not in model.items.rows),
                user.defaulted,
                lease.version,
                user.features_unavailable,
            )
