"""The servers of this lane as processes, and the translation service in front of them."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc.aio
import httpx
import psutil
from tritonclient.grpc import service_pb2, service_pb2_grpc

from trunkline.translate.v1 import translate_pb2 as pb
from trunkline.translate.v1.translate_pb2_grpc import TranslateServiceStub
from trunkline_local import catalog
from trunkline_local.embedded import free_port
from trunkline_local.processes import Answer, Command, Process
from trunkline_local.services import Service

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
INSTALLED = ROOT / ".engines"
NAME = "translator"
"""Of the model, on both servers."""
START_S = 600.0
"""vLLM takes 25 s where nothing else runs, and minutes where much does."""
BOUND_S = 120.0
ORDER = ("triton", "vllm", "openvino", "apertium")
"""Of the chain."""
FIGURES: list[str] = []


async def until(condition: Callable[[], Any], bound_s: float = BOUND_S) -> Any:
    """Waits for a condition to become true; returns what it was."""
    async with asyncio.timeout(bound_s):
        while not (found := condition()):
            await tick()
        return found


async def tick(seconds: float = 0.02) -> None:
    """Lets a little time pass, between two looks at a condition."""
    try:
        await asyncio.wait_for(asyncio.Event().wait(), seconds)
    except TimeoutError:
        return


class EngineServer:
    """A server with all of the processes that it starts itself."""

    def __init__(self, name: str, directory: Path, model: Path) -> None:
        self.port = free_port()
        self.model = model
        self.directory = directory
        self._process = Process(name, directory / "log")
        self._family: list[psutil.Process] = []

    def command(self) -> Command:
        raise AssertionError("each server has its own")

    async def serves(self) -> bool:
        raise AssertionError("each server has its own")

    @property
    def runs(self) -> bool:
        return self._process.pid is not None

    def start(self) -> None:
        """Call it from the main thread: the server ends with the thread that started it."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self._process.start(self.command())

    async def up(self) -> None:
        """Returns when it serves."""
        async with asyncio.timeout(START_S):
            while not await self.serves():
                assert self._process.pid is not None, "\n".join(self._process.log_tail(40))
                await tick()
        self._family = self.family()

    def family(self) -> list[psutil.Process]:
        """The process and those that it started, and so on."""
        root = psutil.Process(self._process.pid)
        return [root, *root.children(recursive=True)]

    def signal(self, number: signal.Signals) -> None:
        """Signals all of them at once."""
        for process in self._family:
            try:
                process.send_signal(number)
            except psutil.NoSuchProcess:
                continue

    async def kill(self) -> None:
        """kill -9 of all of them; returns when they are gone."""
        self.signal(signal.SIGKILL)
        await self._process.exited()
        await asyncio.to_thread(psutil.wait_procs, self._family, 10)

    async def stop(self) -> None:
        """Asks it to end."""
        if self._process.pid is None:
            return
        self._family = self.family()
        self.signal(signal.SIGCONT)
        await self._process.stop(15)
        self.signal(signal.SIGKILL)


class TritonServer(EngineServer):
    """PyTriton's tritonserver with the default model's IR behind the vLLM backend's tensors."""

    def __init__(self, directory: Path, model: Path) -> None:
        super().__init__("triton", directory, model)

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.port}"

    def command(self) -> Command:
        program = [INSTALLED / "triton" / "bin" / "python", HERE / "triton_translator.py"]
        options = ["--model", self.model, "--name", NAME, "--grpc-port", self.port]
        kept = {"XDG_CACHE_HOME": str(self.directory), "HOME": str(self.directory)}
        return Command([str(each) for each in (*program, *options)], {**os.environ, **kept})

    async def serves(self) -> bool:
        async with grpc.aio.insecure_channel(self.target) as channel:
            stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
            try:
                for name in (NAME, f"{NAME}-unary"):
                    answer = await stub.ModelReady(service_pb2.ModelReadyRequest(name=name), timeout=5)
                    if not answer.ready:
                        return False
            except grpc.aio.AioRpcError:
                return False
        return True


class VllmServer(EngineServer):
    """vLLM's OpenAI-compatible server with the default model's weights."""

    def __init__(self, directory: Path, model: Path) -> None:
        super().__init__("vllm", directory, model)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def command(self) -> Command:
        program = [INSTALLED / "vllm" / "bin" / "python", "-m", "vllm.entrypoints.openai.api_server"]
        options = ["--model", self.model, "--served-model-name", NAME]
        options += ["--host", "127.0.0.1", "--port", self.port, "--dtype", "float32", "--enforce-eager"]
        options += ["--max-num-seqs", 16]
        kept = {
            "VLLM_CPU_KVCACHE_SPACE": "1",
            "VLLM_CPU_OMP_THREADS_BIND": "nobind",
            "OMP_NUM_THREADS": "1",
            "HF_HUB_OFFLINE": "1",
            "VLLM_NO_USAGE_STATS": "1",
            "VLLM_CACHE_ROOT": str(self.directory),
        }
        return Command([str(each) for each in (*program, *options)], {**os.environ, **kept})

    async def serves(self) -> bool:
        async with httpx.AsyncClient(timeout=5) as client:
            try:
                return (await client.get(f"{self.url}/models")).status_code == 200
            except httpx.HTTPError:
                return False

    async def running(self) -> float:
        """Requests that it computes or keeps waiting, as its metrics tell."""
        async with httpx.AsyncClient(timeout=30) as client:
            text = (await client.get(f"{self.url.removesuffix('/v1')}/metrics")).text
        names = ("vllm:num_requests_running{", "vllm:num_requests_waiting{")
        return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(names))


@dataclass
class Engines:
    """Both servers."""

    triton: TritonServer
    vllm: VllmServer

    def start(self) -> None:
        """Starts those that do not run. Call it from the main thread."""
        for server in (self.triton, self.vllm):
            if not server.runs:
                server.start()

    async def up(self) -> None:
        """Returns when both serve."""
        await asyncio.gather(self.triton.up(), self.vllm.up())

    async def stop(self) -> None:
        await asyncio.gather(self.triton.stop(), self.vllm.stop())


@dataclass
class Translate:
    """The service in a process of its own."""

    service: Service
    channel: grpc.aio.Channel
    stub: Any = field(init=False)

    def __post_init__(self) -> None:
        self.stub = TranslateServiceStub(self.channel)

    async def engines_up(self) -> set[str]:
        """The engines that are up, as it tells of English to Spanish, which all of them translate."""
        return {name for name, each in (await self.engines()).items() if each.ready}

    async def engines(self) -> dict[str, pb.PairEngine]:
        """Who translates English to Spanish, in order of preference."""
        answer = await self.stub.ListLanguages(pb.ListLanguagesRequest(page_size=1000), timeout=30)
        return {
            engine.engine: engine
            for pair in answer.pairs
            if (pair.source_language_code, pair.target_language_code) == ("en", "es")
            for engine in pair.engines
        }

    async def wait_for(self, *engines: str) -> None:
        """Returns when these are up, and no others."""
        async with asyncio.timeout(BOUND_S):
            while await self.engines_up() != set(engines):
                await tick()

    async def stream(self, text: str, **options: Any) -> list[pb.StreamTranslateResponse]:
        """Everything that comes of a text."""
        wanted = pb.TranslationOptions(source_language_code="en", target_language_code="es")
        for name, value in options.items():
            setattr(wanted, name, value)
        call = self.stub.StreamTranslate(
            pb.StreamTranslateRequest(text=text, options=wanted), timeout=BOUND_S
        )
        return [event async for event in call]

    async def sentence(self, text: str, **options: Any) -> pb.Sentence:
        """Of a text that is one sentence."""
        return (await self.stream(text, **options))[-1].sentence

    def apertium(self) -> list[psutil.Process]:
        """Apertium's programs, without the shells that started them."""
        service = psutil.Process(self.service.process.pid)
        return [each for each in service.children(recursive=True) if each.name() not in ("sh", "dash")]


class Servers:
    """A registry with the default model, and the translation service, each a process."""

    def __init__(self, engines: Engines, redis_url: str, dsn: str, directory: Path) -> None:
        self._model = engines.triton.model
        target = f"127.0.0.1:{free_port()}"
        self.registry = _service(
            "registry", target, {"POSTGRES_DSN": dsn, "BLOB_DIR": str(directory / "blobs")}, directory
        )
        self.service = _service(
            "translate",
            f"127.0.0.1:{free_port()}",
            {
                "REGISTRY": target,
                "REDIS_URL": redis_url,
                "MODEL_CACHE_DIR": str(directory / "models"),
                "TRITON": engines.triton.target,
                "TRITON_MODEL": NAME,
                "TRITON_TOKENIZER": str(engines.vllm.model),
                "TRITON_PROMPT": "codes",
                "VLLM": engines.vllm.url,
                "VLLM_PROMPT": "codes",
                "PROBE_S": "1",
                # Slow is not broken here: a machine may do much else.
                "FIRST_TOKEN_S": "30",
                "STALL_S": "30",
            },
            directory,
        )

    def start(self) -> None:
        """Starts what does not run. Call it from the main thread."""
        for each in (self.registry, self.service):
            if each.process.pid is None:
                each.process.start(each.command())

    async def up(self) -> None:
        """Returns when both serve."""
        await _serves(self.registry)
        bundle = catalog.Bundle("phrase-translator", self._model)
        await catalog.register(f"127.0.0.1:{self.registry.port}", [bundle])
        await _serves(self.service)

    async def stop(self) -> None:
        await self.service.process.stop()
        await self.registry.process.stop()


def _service(name: str, target: str, settings: dict[str, str], directory: Path) -> Service:
    port = int(target.rpartition(":")[2])
    log = directory / f"{name}.log"
    return Service(name, f"trunkline_{name}", port, {"PORT": str(port), **settings}, log)


async def _serves(service: Service) -> None:
    async with asyncio.timeout(START_S):
        while await service.ask() is not Answer.SERVING:
            assert service.process.pid is not None, "\n".join(service.process.log_tail(40))
            await tick()
