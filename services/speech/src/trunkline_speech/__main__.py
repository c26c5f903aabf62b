"""Serve speech: python -m trunkline_speech."""

from __future__ import annotations

from functools import partial

from trunkline_hop.serve import serve
from trunkline_hop.server import Server
from trunkline_modelstore import ModelStore
from trunkline_modelstore.grpc_registry import GrpcRegistry
from trunkline_speech import ear, sphinx, vad
from trunkline_speech.choice import Recognisers
from trunkline_speech.classical_embedding import ClassicalEmbedding
from trunkline_speech.config import Detector
from trunkline_speech.ear import Ear
from trunkline_speech.loader import WhisperLoader
from trunkline_speech.meters import Meters
from trunkline_speech.offline import Offline
from trunkline_speech.recording_speakers import tag_recording
from trunkline_speech.redis_sessions import RedisSessions
from trunkline_speech.registered_voices import Voices, registered
from trunkline_speech.service import SpeechService
from trunkline_speech.sessions import Sessions
from trunkline_speech.settings import Settings
from trunkline_speech.sherpa_embedding import SpeakerLoader
from trunkline_speech.speakers import Diarizer
from trunkline_speech.verdicts import verdicts


async def build(server: Server, settings: Settings) -> None:
    """Wires the service."""
    meters = Meters(server.name, server.metrics)
    registry = GrpcRegistry(server.connect("registry", settings.registry))
    models = ModelStore(
        WhisperLoader(
            settings.device_names,
            settings.pipelines,
            settings.queue,
            meters,
            threads=settings.pipeline_threads,
            verdicts=verdicts(settings.model_cache_dir / "checked"),
        ),
        registry,
        models=settings.model_names,
        cache_dir=settings.model_cache_dir,
        budget_bytes=settings.model_budget_bytes,
        limit=settings.model_versions,
        on_change=server.refresh,
    )
    pocketsphinx = sphinx.Sphinx(await server.own(sphinx.Workers(settings.pipelines, settings.queue, meters)))
    recognisers = Recognisers(models, settings.model_names, {sphinx.NAME: pocketsphinx})
    server.readiness("models", recognisers.ready)
    await server.own(models)
    voices = await _voices(server, settings, registry)
    offline = Offline(
        decode=ear.whole,
        detect=partial(vad.detector, Detector.SILERO),
        choose=recognisers.lease,
        tag=lambda samples, words, most: tag_recording(voices(), samples, words, most),
        limit_s=settings.recognize_max_audio_s,
        at_once=settings.pipelines + settings.queue,
    )
    store = None
    if settings.redis_url:
        store = await server.own(RedisSessions(settings.redis_url, timeout_s=settings.redis_timeout_s))

    def diarize(most: int, state: bytes) -> Diarizer:
        return Diarizer.restored(voices(), state) if state else Diarizer(voices(), most)

    sessions = Sessions(
        listen=lambda audio, detector, start: Ear(audio, detector, start=start),
        choose=recognisers.lease,
        diarize=diarize,
        store=store,
        clock=server.clock,
        limit=settings.max_sessions,
    )
    server.add(SpeechService(offline, sessions, recognisers))


async def _voices(server: Server, settings: Settings, registry: GrpcRegistry) -> Voices:
    """What tells speakers apart."""
    classical = ClassicalEmbedding()
    if not settings.speaker_model:
        return lambda: classical
    networks = ModelStore(
        SpeakerLoader(),
        registry,
        models=[settings.speaker_model],
        # A store of its own keeps its own last known good set.
        cache_dir=settings.model_cache_dir / "speakers",
        budget_bytes=settings.model_budget_bytes,
        on_change=server.refresh,
    )
    server.readiness("speakers", networks.ready)
    await server.own(networks)
    return registered(networks, settings.speaker_model, classical)


if __name__ == "__main__":
    serve("speech", Settings, build)
