"""Which services the gateway offers. Their methods and options come from the descriptors, so a new method
needs nothing here.
"""

from __future__ import annotations

from google.protobuf.descriptor import ServiceDescriptor

from trunkline.features.v1 import features_pb2
from trunkline.ranking.v1 import ranking_pb2
from trunkline.registry.v1 import registry_pb2
from trunkline.retrieval.v1 import retrieval_pb2
from trunkline.speech.v1 import speech_pb2
from trunkline.translate.v1 import translate_pb2
from trunkline_gateway.settings import Settings

SERVICES: dict[str, ServiceDescriptor] = {
    "features": features_pb2.DESCRIPTOR.services_by_name["FeatureService"],
    "ranking": ranking_pb2.DESCRIPTOR.services_by_name["RankingService"],
    "registry": registry_pb2.DESCRIPTOR.services_by_name["RegistryService"],
    "retrieval": retrieval_pb2.DESCRIPTOR.services_by_name["VectorService"],
    "speech": speech_pb2.DESCRIPTOR.services_by_name["SpeechService"],
    "translate": translate_pb2.DESCRIPTOR.services_by_name["TranslateService"],
}
"""By the setting that holds their address."""


def routes(settings: Settings) -> dict[str, tuple[ServiceDescriptor, str]]:
    """The services that have an address: name -> (service, address)."""
    return {
        name: (service, target) for name, service in SERVICES.items() if (target := getattr(settings, name))
    }
