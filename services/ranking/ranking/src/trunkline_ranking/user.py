"""What is known of a user at this moment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trunkline_ranking import graph, history
from trunkline_ranking.features import FeatureRow
from trunkline_ranking.history import History
from trunkline_ranking.reading import Reading
from trunkline_ranking.recommender_model import RecommenderModel

Remaining = Callable[[], float | None]
"""Time left for the request's answer, in seconds; None: any."""


@dataclass(frozen=True, slots=True)
class User:
    """A user as the graphs take it."""

    features: NDArray[np.float32]
    """[1, F] as the signature names them."""
    consumed: tuple[str, ...]
    """All items of the history, newest first."""
    history: History | None
    """None for a user that nobody knows: no history, or none of it known to the artefact."""
    defaulted: tuple[str, ...]
    """Features whose value was a default or stale."""
    features_unavailable: bool
    """True when the feature store could not be asked."""


@dataclass(frozen=True, slots=True)
class Users:
    """Users in a feature store."""

    reading: Reading

    async def read(self, model: RecommenderModel, user_id: str, remaining: Remaining) -> User:
        """A user; as one that nobody knows when the feature store cannot be asked in time."""
        signature = model.signature
        row = await self.reading.read(signature.query, {signature.entity_type: user_id}, remaining())
        return assemble(model, row)


def assemble(model: RecommenderModel, row: FeatureRow | None) -> User:
    """A user from its features; None when they could not be read."""
    signature = model.signature
    if row is None:
        numbers = [signature.defaults[name] for name in signature.features]
        return User(_features(numbers), (), None, signature.query.names, features_unavailable=True)
    numbers = [
        signature.defaults[name] if read.value is None else read.value
        for name, read in zip(signature.features, row.numbers, strict=True)
    ]
    (text,), (ratings,) = row.texts, row.vectors
    consumed = tuple((text.value or "").split())
    fresh = [*(read.fresh for read in row.numbers), text.fresh, ratings.fresh]
    return User(
        _features(numbers),
        consumed,
        history.encode(consumed, ratings.value, model.items.rows, signature.length),
        tuple(name for name, is_fresh in zip(signature.query.names, fresh, strict=True) if not is_fresh),
        features_unavailable=False,
    )


def _features(numbers: list[float]) -> NDArray[np.float32]:
    return graph.clip(np.array([numbers]))
