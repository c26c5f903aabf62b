"""What a recommender's graphs take, and which index its vectors are in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trunkline_ranking import signature
from trunkline_ranking.features import FeatureQuery
from trunkline_ranking.signature import Fields, SignatureError

TASK = "recommend"
METRIC = "inner_product"
"""Rank scores given items by the same metric, and knows this one."""
MOST_CANDIDATES = 1000
"""The largest `top_k` of a search."""
_KEYS = (
    "task",
    "index",
    "dimension",
    "metric",
    "candidates",
    "entity_type",
    "history",
    "features",
    "defaults",
    "popular_query",
)
_INDEX = re.compile(r"[a-z][a-z0-9-]{0,62}")
_DIMENSIONS = 4096
_LENGTH = 4096


@dataclass(frozen=True, slots=True)
class RecommenderSignature:
    """`signature.json` of the task `recommend`."""

    index: str
    """`indexes/{index}` that holds the items' vectors."""
    dimension: int
    """Length of a vector."""
    candidates: int
    """How many items retrieval finds for the ranker."""
    entity_type: str
    """What the feature store calls a user."""
    length: int
    """How many items of a history, the newest, the user tower takes."""
    features: tuple[str, ...]
    """Columns of the graphs' user features, in order."""
    defaults: Mapping[str, float]
    """The value that stands in for each of them while it cannot be read."""
    popular_query: NDArray[np.float32]
    """[dimension] vector of a user that nobody knows."""
    query: FeatureQuery
    """All that is read of a user: the features, the history's items, their ratings."""


def parse(fields: Fields) -> RecommenderSignature:
    """Makes sense of the fields of a `signature.json`.

    Raises:
        SignatureError: they are malformed.
    """
    signature.check_keys("signature.json", fields, _KEYS)
    index = fields["index"]
    if not isinstance(index, str) or not _INDEX.fullmatch(index):
        raise SignatureError(f"index {index!r} is no name of an index")
    if fields["metric"] != METRIC:
        raise SignatureError(f"metric is {fields['metric']!r}; ranking knows {METRIC}")
    dimension = signature.whole("dimension", fields["dimension"], _DIMENSIONS)
    history = signature.check_keys("history", fields["history"], ("items", "ratings", "length"))
    for key in ("items", "ratings"):
        signature.view_of(f"history.{key}", history[key])
    features = signature.names("features", fields["features"])
    for name in features:
        signature.view_of("features", name)
    popular_query = fields["popular_query"]
    if not isinstance(popular_query, list) or len(popular_query) != dimension:
        raise SignatureError(f"popular_query is no list of {dimension} numbers")
    vector = [signature.number("popular_query", each) for each in popular_query]
    return RecommenderSignature(
        index=f"indexes/{index}",
        dimension=dimension,
        candidates=signature.whole("candidates", fields["candidates"], MOST_CANDIDATES),
        entity_type=signature.entity_type("entity_type", fields["entity_type"]),
        length=signature.whole("history.length", history["length"], _LENGTH),
        features=features,
        defaults=signature.numbers("defaults", fields["defaults"], features),
        popular_query=np.array(vector, np.float32),
        query=FeatureQuery(features, (history["items"],), (history["ratings"],)),
    )
