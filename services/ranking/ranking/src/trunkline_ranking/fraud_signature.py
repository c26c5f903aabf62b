"""What the columns of a fraud model mean, and what its scores call for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from trunkline_ranking import signature
from trunkline_ranking.features import FeatureQuery
from trunkline_ranking.signature import Fields, SignatureError
from trunkline_ranking.transaction import ENTITY_TYPES, REQUEST_FEATURES

TASK = "score_transaction"
_KEYS = ("task", "inputs", "entity_types", "defaults", "thresholds")
_REQUEST = "request"


@dataclass(frozen=True, slots=True)
class FraudSignature:
    """`signature.json` of the task `score_transaction`."""

    inputs: tuple[str, ...]
    """Name of every input column, in order: `request:*` or `view:field`."""
    defaults: Mapping[str, float]
    """The value that stands in for each `view:field` while it cannot be read."""
    review: float
    """Probability from which somebody should look at it."""
    decline: float
    """Probability from which it is declined."""
    entity_types: tuple[str, ...]
    """What its features are about, of `ENTITY_TYPES`."""
    query: FeatureQuery
    """The columns that come from the feature store, in order."""


def parse(fields: Fields) -> FraudSignature:
    """Makes sense of the fields of a `signature.json`.

    Raises:
        SignatureError: they are malformed, or name a feature that nobody can give.
    """
    signature.check_keys("signature.json", fields, _KEYS)
    inputs = signature.names("inputs", fields["inputs"])
    stored = tuple(name for name in inputs if name not in REQUEST_FEATURES)
    views = {signature.view_of("inputs", name): name for name in stored}
    if (name := views.get(_REQUEST)) is not None:
        raise SignatureError(f"inputs names {name}; of a request there is {', '.join(REQUEST_FEATURES)}")
    entities = signature.check_keys("entity_types", fields["entity_types"], views)
    for view, entity in entities.items():
        if entity not in ENTITY_TYPES:
            raise SignatureError(
                f"entity_types.{view} is {entity!r}; a transaction has {', '.join(ENTITY_TYPES)}"
            )
    thresholds = signature.numbers("thresholds", fields["thresholds"], ("review", "decline"))
    review, decline = thresholds["review"], thresholds["decline"]
    if not 0 <= review <= decline <= 1:
        raise SignatureError("thresholds are not 0 <= review <= decline <= 1")
    return FraudSignature(
        inputs=inputs,
        defaults=signature.numbers("defaults", fields["defaults"], stored),
        review=review,
        decline=decline,
        entity_types=tuple(kind for kind in ENTITY_TYPES if kind in entities.values()),
        query=FeatureQuery(stored),
    )
