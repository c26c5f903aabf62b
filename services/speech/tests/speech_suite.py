"""Speech between a real registry and a real session store: replicas in this process, and their clients."""

from __future__ import annotations

import asyncio
import concurrent.futures.thread
import contextlib
import hashlib
import io
import json
import sys
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any

import av
import numpy as np
from google.protobuf.duration_pb2 import Duration
from recogniser_parts import ARTIFACT

import trunkline_speech.__main__ as main
from trunkline.registry.v1 import registry_pb2 as rg
from trunkline.registry.v1.registry_pb2_grpc import RegistryServiceStub
from trunkline.speech.v1 import speech_pb2 as pb
from trunkline.speech.v1.speech_pb2_grpc import SpeechServiceStub
from trunkline_hop import connect, running
from trunkline_hop.server import Server
from trunkline_registry.__main__ import build as build_registry
from trunkline_registry.settings import Settings as RegistrySettings
from trunkline_speech.model_files import LOADED, SIGNATURE
from trunkline_speech.settings import Settings

BOUND_S = 60.0
"""How long a test waits for a condition before it is a failure. Nothing is asserted about time."""
MODEL = "models/whisper-micro"
SPHINX = "engines/pocketsphinx"
SAMPLES = Path(__file__).parents[3] / "models" / "whisper-micro" / "samples"
RATE_HZ = 16_000


async def until(condition: Callable[[], Any]) -> Any:
    """Waits for a condition; returns what it was."""
    async with asyncio.timeout(BOUND_S):
        while not (found := condition()):
            await tick()
        return found


async def tick() -> None:
    """Lets a little time pass between two looks at a condition."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(asyncio.Event().wait(), 0.005)


def shipped() -> dict[str, bytes]:
    """The files of the model that ships."""
    return {name: (ARTIFACT / name).read_bytes() for name in (SIGNATURE, *LOADED)}


class Replica:
    """A server of speech, and stubs through hop's own client."""

    def __init__(self, server: Server, service: Any, stub: SpeechServiceStub) -> None:
        self.server = server
        self.sessions = service._sessions
        self.stub: Any = stub

    async def recognize(self, audio: bytes, **fields: Any) -> pb.RecognizeResponse:
        reply: pb.RecognizeResponse = await self.stub.Recognize(
            pb.RecognizeRequest(audio=audio, **fields), timeout=BOUND_S
        )
        return reply

    @asynccontextmanager
    async def stream(self, *first: pb.StreamingRecognizeRequest) -> AsyncIterator[Any]:
        """A stream to which something was said already; cancelled after the block, if it is not over."""
        call = self.stub.StreamingRecognize()
        try:
            for message in first:
                await call.write(message)
            yield call
        finally:
            call.cancel()

    async def quiet(self) -> None:
        """Returns when no session is left."""
        await until(lambda: not self.sessions.live and not self.server.sessions)


class Suite:
    """A registry, and replicas of speech by name."""

    def __init__(self, redis_url: str, dsn: str, directory: Path) -> None:
        self._redis_url = redis_url
        self._dsn = dsn
        self._directory = directory
        self._stacks: dict[str, AsyncExitStack] = {}
        self._channels = AsyncExitStack()
        self.registry: Any = None
        self._registry_port = 0
        self.replicas: dict[str, Replica] = {}

    async def start_registry(self) -> None:
        """Starts the registry, on the port it had before if it ran before."""
        stack = self._stacks["registry"] = AsyncExitStack()
        settings = RegistrySettings(
            postgres_dsn=self._dsn,
            blob_dir=self._directory / "blobs",
            port=self._registry_port,
            metrics_port=0,
            drain_grace_s=1.0,
        )
        server = await stack.enter_async_context(running("registry", settings, build_registry))
        self._registry_port = server.port
        await until(server.health.serving)
        self.registry = RegistryServiceStub(
            await stack.enter_async_context(connect("registry", server.target))
        )

    async def start(self, name: str = "speech", *, ready: bool = True, **settings: Any) -> Replica:
        """Starts a replica with one pipeline."""
        stack = self._stacks[name] = AsyncExitStack()
        added: list[Any] = []

        async def build(server: Server, given: Settings) -> None:
            add = server.add
            server.add = lambda service: (added.append(service), add(service))[1]  # type: ignore[method-assign]
            await main.build(server, given)

        given: dict[str, Any] = {
            "registry": f"127.0.0.1:{self._registry_port}",
            "redis_url": self._redis_url,
            # Tests are not about how fast a machine is that is busy with others.
            "redis_timeout_s": 5.0,
            "model_cache_dir": self._directory / "models",
            "pipelines": 1,
            "port": 0,
            "metrics_port": 0,
            "drain_grace_s": 10.0,
        }
        server = await stack.enter_async_context(running("speech", Settings(**(given | settings)), build))
        if ready:
            await until(server.health.serving)
        # Not sooner: a channel remembers for a moment that its server was not ready.
        channel = await self._channels.enter_async_context(connect("speech", server.target))
        replica = self.replicas[name] = Replica(server, added[0], SpeechServiceStub(channel))
        return replica

    async def stop(self, name: str) -> None:
        """Drains a server."""
        self.replicas.pop(name, None)
        await self._stacks.pop(name).aclose()

    async def close(self) -> None:
        await self._channels.aclose()
        for name in reversed(list(self._stacks)):
            await self.stop(name)

    async def publish(self, files: Mapping[str, bytes], *, production: bool = True) -> str:
        """Registers a version; returns its name."""
        listed = await self.registry.ListModels(rg.ListModelsRequest())
        if MODEL not in [model.name for model in listed.models]:
            await self.registry.CreateModel(rg.CreateModelRequest(model_id=MODEL.rpartition("/")[2]))
        entries = []
        for path, content in files.items():
            sha256 = hashlib.sha256(content).hexdigest()
            header = rg.ArtifactHeader(sha256=sha256, size_bytes=len(content))
            parts = [rg.UploadArtifactRequest(header=header)]
            parts += [
                rg.UploadArtifactRequest(chunk=content[start : start + (1 << 20)])
                for start in range(0, len(content), 1 << 20)
            ]
            await self.registry.UploadArtifact(iter(parts), timeout=BOUND_S)
            entries.append(rg.ModelFile(path=path, sha256=sha256))
        created = await self.registry.CreateModelVersion(
            rg.CreateModelVersionRequest(
                parent=MODEL,
                model_version=rg.ModelVersion(format=rg.FORMAT_OPENVINO_IR, files=entries),
            ),
            timeout=BOUND_S,
        )
        name = str(created.model_version.name)
        for stage in (rg.STAGE_STAGING, rg.STAGE_PRODUCTION) if production else ():
            await self.registry.TransitionModelVersionStage(
                rg.TransitionModelVersionStageRequest(name=name, stage=stage), timeout=BOUND_S
            )
        return name


@asynccontextmanager
async def opened(redis_url: str, dsn: str, directory: Path) -> AsyncIterator[Suite]:
    """A suite whose registry has the model that ships in production, and no replica yet."""
    suite = Suite(redis_url, dsn, directory)
    try:
        await suite.start_registry()
        await suite.publish(shipped())
        yield suite
    finally:
        await suite.close()


# ---- audio


@cache
def sample(name: str) -> np.ndarray[Any, np.dtype[np.int16]]:
    """A spoken sentence that ships with the model, int16 at 16 kHz."""
    with av.open(str(SAMPLES / f"{name}.ogg")) as container:
        resampler = av.AudioResampler("s16", "mono", RATE_HZ)
        frames = [out for frame in container.decode(audio=0) for out in resampler.resample(frame)]
        frames += resampler.resample(None)
    return np.concatenate([frame.to_ndarray()[0] for frame in frames])


def silence(seconds: float) -> np.ndarray[Any, np.dtype[np.int16]]:
    return np.zeros(round(seconds * RATE_HZ), np.int16)


@cache
def sentences(*names: str, pause_s: float = 1.0) -> bytes:
    """Sentences one after the other, with silence behind each, as LINEAR16."""
    return b"".join(sample(name).tobytes() + silence(pause_s).tobytes() for name in names)


LINEAR16 = pb.AudioFormat(encoding=pb.AUDIO_ENCODING_LINEAR16, sample_rate_hertz=RATE_HZ)
CODECS = {
    "wav": ("wav", "pcm_s16le", "s16"),
    "flac": ("flac", "flac", "s16"),
    "opus": ("ogg", "libopus", "s16"),
    "mp3": ("mp3", "libmp3lame", "s16p"),
    "webm": ("webm", "libopus", "s16"),
}
"""By name: container, codec, format of its samples."""
LOSSLESS = ("wav", "flac")


def encoded(pcm: bytes, codec: str, rate_hz: int = RATE_HZ) -> bytes:
    """LINEAR16 of 16 kHz in a container, at another rate."""
    kind, name, layout = CODECS[codec]
    file = io.BytesIO()
    with av.open(file, "w", format=kind) as container:
        stream = container.add_stream(name, rate=48_000 if name == "libopus" else rate_hz, layout="mono")
        if codec not in LOSSLESS:
            stream.bit_rate = 128_000
        frame = av.AudioFrame.from_ndarray(np.frombuffer(pcm, np.int16)[None], "s16", "mono")
        frame.sample_rate = RATE_HZ
        resampler = av.AudioResampler(layout, "mono", stream.rate, frame_size=stream.frame_size or 1152)
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))
    return file.getvalue()


# ---- messages


def config(**fields: Any) -> pb.StreamingRecognizeRequest:
    """The first message of a session: English in LINEAR16 of 16 kHz, unless it is said otherwise."""
    options = {"language_code": "en"} | fields.pop("options", {})
    given = {"audio_format": LINEAR16} | fields
    return pb.StreamingRecognizeRequest(
        config=pb.StreamingConfig(options=pb.RecognitionOptions(**options), **given)
    )


def resume(token: str, last: int = 0, **fields: Any) -> pb.StreamingRecognizeRequest:
    return pb.StreamingRecognizeRequest(resume=pb.Resume(resume_token=token, last_sequence=last, **fields))


def update(**fields: Any) -> pb.StreamingRecognizeRequest:
    return pb.StreamingRecognizeRequest(update=pb.ConfigUpdate(**fields))


def audio(data: bytes) -> pb.StreamingRecognizeRequest:
    return pb.StreamingRecognizeRequest(audio=data)


def seconds(time: float) -> Duration:
    nanos = round(time * 1e9)
    return Duration(seconds=nanos // 1_000_000_000, nanos=nanos % 1_000_000_000)


def position(time: Duration) -> int:
    """Bytes of LINEAR16 before a time on the session's clock."""
    return 2 * (time.seconds * RATE_HZ + round(time.nanos * RATE_HZ / 1e9))


def chunks(data: bytes, size: int) -> Iterator[bytes]:
    return (data[start : start + size] for start in range(0, len(data), size))


async def sent(call: Any, data: bytes, size: int = 32_000) -> None:
    """Audio, and its end."""
    for chunk in chunks(data, size):
        await call.write(audio(chunk))
    await call.done_writing()


async def said(
    replica: Replica, data: bytes, *first: pb.StreamingRecognizeRequest, size: int = 32_000
) -> list[pb.StreamingRecognizeResponse]:
    """Everything that a session says about some audio."""
    async with replica.stream(*(first or (config(),))) as call, asyncio.timeout(BOUND_S):
        sending = asyncio.create_task(sent(call, data, size))
        try:
            return [event async for event in call]
        finally:
            sending.cancel()
            await asyncio.wait([sending])


# ---- events


def kinds(events: Iterable[pb.StreamingRecognizeResponse]) -> list[str]:
    return [str(event.WhichOneof("event")) for event in events]


def outline(events: Iterable[pb.StreamingRecognizeResponse]) -> list[pb.StreamingRecognizeResponse]:
    """Events without what differs between two sessions about the same audio."""
    stripped = []
    for event in events:
        copy = pb.StreamingRecognizeResponse()
        copy.CopyFrom(event)
        if copy.HasField("started"):
            copy.started.ClearField("session_id")
            copy.started.ClearField("resume_token")
        stripped.append(copy)
    return stripped


def finals(events: Iterable[pb.StreamingRecognizeResponse]) -> list[pb.Segment]:
    return [event.segment_final.segment for event in events if event.HasField("segment_final")]


def text(events: Iterable[pb.StreamingRecognizeResponse]) -> str:
    """What is final of what was said."""
    return " ".join(segment.text for segment in finals(events))


def committed(events: Sequence[pb.StreamingRecognizeResponse]) -> str:
    """What a client holds for sure: final segments, and the stable part of the one that goes on."""
    texts: dict[int, str] = {}
    for event in events:
        if event.HasField("segment_final"):
            texts[event.segment_final.segment.segment_id] = event.segment_final.segment.text
        elif event.HasField("interim"):
            segment = event.interim.segment
            texts[segment.segment_id] = segment.text[: event.interim.stable_length]
    return " ".join(filter(None, (texts[number] for number in sorted(texts))))


def json_of(name: str) -> dict[str, Any]:
    """What is known of a sample."""
    listed = json.loads((SAMPLES / "samples.json").read_text())["samples"]
    (found,) = [each for each in listed if each["file"] == f"{name}.ogg"]
    return dict(found)


POOLS = ("asyncio_", "modelstore_", "pipeline_")
"""Names of threads that outlive sessions. A pool starts one whenever work comes and none is idle, which is chance."""


def left_over() -> Counter[str]:
    """Tasks and threads of this process, by what they do, without the idle threads of its pools."""
    tasks = Counter(getattr(task.get_coro(), "__qualname__", "?") for task in asyncio.all_tasks())
    at_work = [thread for thread in threading.enumerate() if not _idle(thread)]
    return tasks + Counter(f"thread {thread.name.rstrip('0123456789')}" for thread in at_work)


def _idle(thread: threading.Thread) -> bool:
    """True for a thread of a pool that waits for work: it is in the pool's own code, and in nothing called by it."""
    frame = sys._current_frames().get(thread.ident or 0)
    module = concurrent.futures.thread.__name__
    return thread.name.startswith(POOLS) and frame is not None and frame.f_globals["__name__"] == module
