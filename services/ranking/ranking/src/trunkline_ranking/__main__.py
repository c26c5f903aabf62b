"""Serve ranking: python -m trunkline_ranking."""

from __future__ import annotations

from trunkline_hop.serve import serve
from trunkline_hop.server import Server
from trunkline_modelstore import ModelStore
from trunkline_modelstore.grpc_registry import GrpcRegistry
from trunkline_ranking.fraud_model import FraudLoader
from trunkline_ranking.grpc_features import GrpcFeatures
from trunkline_ranking.inference import Inference
from trunkline_ranking.scoring import Scoring
from trunkline_ranking.service import RankingService
from trunkline_ranking.settings import Settings


async def build(server: Server, settings: Settings) -> None:
    """Wires the service."""
    features = GrpcFeatures(server.connect("features", settings.features))
    registry = GrpcRegistry(server.connect("registry", settings.registry))
    models = ModelStore(
        FraudLoader(),
        registry,
        models=settings.model_names,
        cache_dir=settings.model_cache_dir,
        budget_bytes=settings.model_budget_bytes,
        on_change=server.refresh,
    )
    server.readiness("models", models.ready)
    await server.own(models)
    inference = Inference(server.name, server.metrics)
    server.add(
        RankingService(
            Scoring(models, features, inference, settings.features_timeout_s, settings.inference_margin_s)
        )
    )


if __name__ == "__main__":
    serve("ranking", Settings, build)
