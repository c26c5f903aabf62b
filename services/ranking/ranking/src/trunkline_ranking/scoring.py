"""How likely a transaction is fraudulent, and what to do with it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np

from trunkline_modelstore import ModelStore
from trunkline_ranking.features import FeatureRow
from trunkline_ranking.fraud_model import FraudModel
from trunkline_ranking.fraud_signature import FraudSignature
from trunkline_ranking.inference import Inference
from trunkline_ranking.model import Model, of_task
from trunkline_ranking.reading import Reading
from trunkline_ranking.transaction import REQUEST_FEATURES, Transaction

_NONE = FeatureRow(())
"""For a model that reads nothing of the store."""


class Decision(Enum):
    """What to do with a transaction."""

    APPROVE = "approve"
    REVIEW = "review"
    DECLINE = "decline"


@dataclass(frozen=True, slots=True)
class Score:
    """The answer for one transaction."""

    probability: float
    """Of fraud, 0 to 1."""
    decision: Decision
    defaulted: tuple[str, ...]
    """Features whose value was a default or stale, in the model's order."""
    version: str
    """Which version of which model answered."""
    features_unavailable: bool
    """True when the feature store could not be asked."""


@dataclass(frozen=True, slots=True)
class Scoring:
    """Scores transactions with the models of a store over the features of another."""

    models: ModelStore[Model]
    reading: Reading
    inference: Inference

    async def score(self, model: str, transaction: Transaction, remaining_s: float | None) -> Score:
        """Scores one transaction.

        Features that cannot be read in time count with the defaults of the model's signature.

        Args:
            model: `models/{model}` for the version in force, or a version's name.
            transaction: what to score.
            remaining_s: time left for the answer; None: any.

        Raises:
            Fault: the model cannot be leased (see `ModelStore.lease`), is for another task, or fails.
        """
        async with self.models.lease(model) as lease:
            fraud = of_task(lease, FraudModel)
            signature = fraud.signature
            entities = {kind: transaction.entity(kind) for kind in signature.entity_types}
            online = await self.reading.read(signature.query, entities, remaining_s) if entities else _NONE
            row, defaulted = assemble(signature, transaction, online)
            run = self.inference.begin(lease.version)
            probability = run.compute("compute", lambda: float(fraud.probabilities(np.array([row]))[0]))
            run.finish((probability,))
            decision = decide(signature, probability)
            return Score(probability, decision, defaulted, lease.version, online is None)


def assemble(
    signature: FraudSignature, transaction: Transaction, online: FeatureRow | None
) -> tuple[list[float], tuple[str, ...]]:
    """The input row of a model, and which of its features are defaults or stale.

    Args:
        signature: what the columns mean.
        transaction: gives the `request:*` columns.
        online: what `signature.query` asks for; None when it could not be read.
    """
    values = iter(online.numbers) if online is not None else None
    row: list[float] = []
    defaulted: list[str] = []
    for name in signature.inputs:
        if (of_request := REQUEST_FEATURES.get(name)) is not None:
            row.append(float(of_request(transaction)))
            continue
        read = next(values) if values is not None else None
        if read is None or not read.fresh:
            defaulted.append(name)
        stored = read.value if read is not None else None
        row.append(signature.defaults[name] if stored is None else stored)
    return row, tuple(defaulted)


def decide(signature: FraudSignature, probability: float) -> Decision:
    """What the model's thresholds say; a probability at a threshold is over it."""
    if probability >= signature.decline:
        return Decision.DECLINE
    return Decision.REVIEW if probability >= signature.review else Decision.APPROVE
