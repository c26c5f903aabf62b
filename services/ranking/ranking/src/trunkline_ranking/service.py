"""trunkline.ranking.v1.RankingService: decode, one domain call, encode."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from trunkline.ranking.v1 import ranking_pb2 as pb
from trunkline_hop.call import Call
from trunkline_hop.errors import BadRequest
from trunkline_ranking.rank import Ranking
from trunkline_ranking.recommend import FEATURES_UNAVAILABLE, Recommendation, Recommending, Request, Source
from trunkline_ranking.scoring import Decision, Scoring
from trunkline_ranking.transaction import Transaction

DEFAULT_FRAUD = "models/fraud"
DEFAULT_RECOMMENDER = "models/recommender"
DEFAULT_COUNT = 10

_DECISIONS = {
    Decision.APPROVE: pb.DECISION_APPROVE,
    Decision.REVIEW: pb.DECISION_REVIEW,
    Decision.DECLINE: pb.DECISION_DECLINE,
}
_SOURCES = {Source.PERSONAL: pb.SOURCE_PERSONAL, Source.POPULAR: pb.SOURCE_POPULAR}


class RankingService:
    """Scores and recommends from registered models."""

    descriptor = pb.DESCRIPTOR.services_by_name["RankingService"]

    def __init__(self, scoring: Scoring, recommending: Recommending, ranking: Ranking) -> None:
        self._scoring = scoring
        self._recommending = recommending
        self._ranking = ranking

    async def ScoreTransaction(
        self, request: pb.ScoreTransactionRequest, call: Call
    ) -> pb.ScoreTransactionResponse:
        """How likely a transaction is fraudulent."""
        transaction = _transaction(request.transaction)
        score = await self._scoring.score(request.model or DEFAULT_FRAUD, transaction, call.remaining())
        call.provenance(score.version)
        if score.features_unavailable:
            call.degraded(FEATURES_UNAVAILABLE)
        return pb.ScoreTransactionResponse(
            probability=score.probability,
            decision=_DECISIONS[score.decision],
            defaulted_features=score.defaulted,
        )

    async def Recommend(self, request: pb.RecommendRequest, call: Call) -> pb.RecommendResponse:
        """Items for a user."""
        recommendation = await self._recommending.recommend(_request(request), call.remaining)
        call.provenance(recommendation.version)
        for how in recommendation.degradations:
            call.degraded(how)
        return _response(recommendation)

    async def Rank(self, request: pb.RankRequest, call: Call) -> pb.RankResponse:
        """Given items in the ranker's order."""
        model, ids = request.model or DEFAULT_RECOMMENDER, _each_once(request.item_ids)
        ranked = await self._ranking.rank(model, request.user_id, ids, call.remaining)
        call.provenance(ranked.version)
        if ranked.features_unavailable:
            call.degraded(FEATURES_UNAVAILABLE)
        return pb.RankResponse(
            items=[pb.RankedItem(item_id=item_id, score=score) for item_id, score in ranked.items],
            unknown_item_ids=ranked.unknown,
            defaulted_features=ranked.defaulted,
        )


def _transaction(message: pb.Transaction) -> Transaction:
    try:
        time = datetime.fromtimestamp(message.time.seconds, UTC)
    except (ValueError, OverflowError, OSError):
        raise BadRequest.field("transaction.time", "a time from year 1 to 9999") from None
    return Transaction(message.customer_id, message.terminal_id, message.amount, time)


def _request(message: pb.RecommendRequest) -> Request:
    return Request(
        model=message.model or DEFAULT_RECOMMENDER,
        user_id=message.user_id,
        count=message.count or DEFAULT_COUNT,
        filter=message.filter,
        exclude=frozenset(message.exclude_item_ids),
        exploration_rate=message.exploration_rate if message.HasField("exploration_rate") else None,
    )


def _response(recommendation: Recommendation) -> pb.RecommendResponse:
    return pb.RecommendResponse(
        items=[
            pb.RecommendedItem(
                item_id=item.item_id,
                score=item.score,
                retrieval_score=item.nearness,
                propensity=item.propensity,
            )
            for item in recommendation.items
        ],
        source=_SOURCES[recommendation.source],
        index=recommendation.index,
        snapshot=recommendation.snapshot,
        sequence=recommendation.sequence,
        defaulted_features=recommendation.defaulted,
    )


def _each_once(ids: Sequence[str]) -> Sequence[str]:
    seen: set[str] = set()
    for place, each in enumerate(ids):
        if not each or each in seen:
            raise BadRequest.field(f"item_ids[{place}]", "an id that is not empty and not there before")
        seen.add(each)
    return list(ids)
