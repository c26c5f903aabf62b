"""How likely a transaction is fraudulent, and what to do with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import structlog

from trunkline_hop.errors import Fault, Overloaded, TooLate, Unavailable
from trunkline_hop.telemetry import span
from trunkline_modelstore import ModelStore
from trunkline_ranking.features import Features, Online
from trunkline_ranking.fraud_model import FraudModel
from trunkline_ranking.inference import Inference
from trunkline_ranking.signature import Signature
from trunkline_ranking.transaction import REQUEST_FEATURES, Transaction

log = structlog.get_logger("trunkline.ranking")


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

    models: ModelStore[FraudModel]
    features: Features
    inference: Inference
    features_timeout_s: float
    """Longest wait for features."""
    margin_s: float
    """Time that the wait for features leaves to the rest of the call."""

    async def score(self, model: str, transaction: Transaction, remaining_s: float | None) -> Score:
        """Scores one transaction.

        Features that cannot be read in time count with the defaults of the model's signature.

        Args:
            model: `models/{model}` for the version in force, or a version's name.
            transaction: what to score.
            remaining_s: time left for the answer; None: any.

        Raises:
            Fault: the model cannot be leased (see `ModelStore.lease`) or fails.
        """
        async with self.models.lease(model) as lease:
            signature = lease.model.signature
            online = await self._read(signature, transaction, remaining_s)
            row, defaulted = assemble(signature, transaction, online)
            probability = self.inference.probability(lease, row)
            decision = decide(signature, probability)
            return Score(probability, decision, defaulted, lease.version, online is None)

    async def _read(
        self, signature: Signature, transaction: Transaction, remaining_s: float | None
    ) -> Sequence[Online] | None:
        """The values of features; None when they cannot be read in time."""
        if not signature.features:
            return ()
        timeout_s = self.features_timeout_s
        if remaining_s is not None:
            timeout_s = min(timeout_s, remaining_s - self.margin_s)
        if timeout_s <= 0:
            return None
        entities = {kind: transaction.entity(kind) for kind in signature.entity_types}
        try:
            with span("features"):
                return await self.features.read(signature.features, entities, timeout_s)
        except (Unavailable, Overloaded, TooLate) as fault:
            log.warning("features unavailable", reason=fault.reason)
        except Fault as fault:
            # A view that nobody declared, say: a defect of the installation, and the answer is as good.
            log.error("features refused", reason=fault.reason, error=fault.message)
        return None


def assemble(
    signature: Signature, transaction: Transaction, online: Sequence[Online] | None
) -> tuple[list[float], tuple[str, ...]]:
    """The input row of a model, and which of its features are defaults or stale.

    Args:
        signature: what the columns mean.
        transaction: gives the `request:*` columns.
        online: one value a `signature.features`; None when they could not be read.
    """
    values = iter(online) if online is not None else None
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


def decide(signature: Signature, probability: float) -> Decision:
    """What the model's thresholds say; a probability at a threshold is over it."""
    if probability >= signature.decline:
        return Decision.DECLINE
    return Decision.REVIEW if probability >= signature.review else Decision.APPROVE
