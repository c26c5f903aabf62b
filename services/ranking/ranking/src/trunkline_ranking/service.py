"""trunkline.ranking.v1.RankingService: decode, one domain call, encode."""

from __future__ import annotations

from datetime import UTC, datetime

from trunkline.ranking.v1 import ranking_pb2 as pb
from trunkline_hop.call import Call
from trunkline_hop.errors import BadRequest
from trunkline_ranking.scoring import Decision, Scoring
from trunkline_ranking.transaction import Transaction

DEFAULT_MODEL = "models/fraud"

_DECISIONS = {
    Decision.APPROVE: pb.DECISION_APPROVE,
    Decision.REVIEW: pb.DECISION_REVIEW,
    Decision.DECLINE: pb.DECISION_DECLINE,
}


class RankingService:
    """Scores from registered models."""

    descriptor = pb.DESCRIPTOR.services_by_name["RankingService"]

    def __init__(self, scoring: Scoring) -> None:
        self._scoring = scoring

    async def ScoreTransaction(
        self, request: pb.ScoreTransactionRequest, call: Call
    ) -> pb.ScoreTransactionResponse:
        """How likely a transaction is fraudulent."""
        transaction = _transaction(request.transaction)
        score = await self._scoring.score(request.model or DEFAULT_MODEL, transaction, call.remaining())
        call.provenance(score.version)
        if score.features_unavailable:
            call.degraded("features_unavailable")
        return pb.ScoreTransactionResponse(
            probability=score.probability,
            decision=_DECISIONS[score.decision],
            defaulted_features=score.defaulted,
        )


def _transaction(message: pb.Transaction) -> Transaction:
    try:
        time = datetime.fromtimestamp(message.time.seconds, UTC)
    except (ValueError, OverflowError, OSError):
        raise BadRequest.field("transaction.time", "a time from year 1 to 9999") from None
    return Transaction(message.customer_id, message.terminal_id, message.amount, time)
