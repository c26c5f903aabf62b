"""Serve ranking: python -m trunkline_ranking."""

from __future__ import annotations

from random import Random

from trunkline_hop.serve import serve
from trunkline_hop.server import Server
from trunkline_modelstore import ModelStore
from trunkline_modelstore.grpc_registry import GrpcRegistry
from trunkline_ranking.grpc_features import GrpcFeatures
from trunkline_ranking.grpc_retrieval import GrpcRetrieval
from trunkline_ranking.inference import Inference
from trunkline_ranking.model import ModelLoader
from trunkline_ranking.patience import Patience
from trunkline_ranking.rank import Ranking
from trunkline_ranking.reading import Reading
from trunkline_ranking.recommend import Recommending
from trunkline_ranking.scoring import Scoring
from trunkline_ranking.service import RankingService
from trunkline_ranking.settings import Settings
from trunkline_ranking.user import Users


async def build(server: Server, settings: Settings) -> None:
    """Wires the service."""
    features = GrpcFeatures(server.connect("features", settings.features))
    retrieval = GrpcRetrieval(server.connect("retrieval", settings.retrieval))
    registry = GrpcRegistry(server.connect("registry", settings.registry))
    models = ModelStore(
        ModelLoader(),
        registry,
        models=settings.model_names,
        cache_dir=settings.model_cache_dir,
        budget_bytes=settings.model_budget_bytes,
        on_change=server.refresh,
    )
    server.readiness("models", models.ready)
    await server.own(models)
    inference = Inference(server.name, server.metrics)
    margin_s = settings.inference_margin_s
    reading = Reading(features, Patience(settings.features_timeout_s, margin_s))
    users = Users(reading)
    recommending = Recommending(
        models,
        users,
        retrieval,
        inference,
        Patience(settings.retrieval_timeout_s, margin_s),
        settings.exploration_rate,
        Random(),
    )
    server.add(
        RankingService(Scoring(models, reading, inference), recommending, Ranking(models, users, inference))
    )


if __name__ == "__main__":
    serve("ranking", Settings, build)
