"""An echo behind the full server stack against a bare grpc.aio + uvloop one, and the cost of each layer.

Server on core 0, load on core 1. Rounds alternate between the servers, so that a noisy moment hits all; what is
printed are medians over rounds. Required: full / bare >= 0.70 calls a second at concurrency 16.
"""

from __future__ import annotations

import asyncio
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Callable
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import uvloop
from google.protobuf import descriptor_pb2 as d
from google.protobuf.descriptor_pool import Default
from google.protobuf.message_factory import GetMessageClass
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

from bench.http2_load import load
from trunkline.options.v1 import options_pb2
from trunkline_hop.admission import Admission
from trunkline_hop.handlers import Dispatcher, servicer_handlers
from trunkline_hop.layers import Admit, Identify, Observe, bound, stack
from trunkline_hop.metrics import Metrics
from trunkline_hop.server import _OPTIONS, running
from trunkline_hop.settings import ServiceSettings
from trunkline_hop.telemetry import Tracing

PATH = "/bench.v1.EchoService/Echo"
CONCURRENCY, CONNECTIONS = 16, 4
REQUIRED = 0.70
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "7"))
SECONDS = float(os.environ.get("BENCH_SECONDS", "1.5"))
SAMPLE_RATIO = 0.01
STACKS = {
    "parse + validate": 0,
    "admit": 1,
    "bound": 2,
    "identify": 3,
    "observe": 4,
}
"""Each line is the one before with one layer more around it."""


def contract() -> tuple[Any, Any, Any]:
    """The echo's service, request and response, with a rule on each field."""
    file = d.FileDescriptorProto(
        name="bench/echo.proto",
        package="bench.v1",
        syntax="proto3",
        dependency=["trunkline/options/v1/options.proto"],
    )
    for name in ("EchoRequest", "EchoResponse"):
        message = file.message_type.add(name=name)
        text = message.field.add(name="text", number=1, type=9, label=1)
        value = message.field.add(name="value", number=2, type=1, label=1)
        text.options.Extensions[options_pb2.rules].max_length = 100
        value.options.Extensions[options_pb2.rules].finite = True
    file.service.add(name="EchoService").method.add(
        name="Echo", input_type=".bench.v1.EchoRequest", output_type=".bench.v1.EchoResponse"
    )
    pool = Default()
    pool.AddSerializedFile(file.SerializeToString())
    service = pool.FindServiceByName("bench.v1.EchoService")
    messages = (pool.FindMessageTypeByName(f"bench.v1.{name}") for name in ("EchoRequest", "EchoResponse"))
    request, response = (GetMessageClass(message) for message in messages)
    return service, request, response


SERVICE, EchoRequest, EchoResponse = contract()


class Echo:
    """What is called, the same behind every server."""

    descriptor = SERVICE

    async def Echo(self, request: Any, call: Any) -> Any:
        return EchoResponse(text=request.text, value=request.value)


async def bare() -> Any:
    """grpc.aio as it comes."""
    server = grpc.aio.server(options=_OPTIONS)
    handler = grpc.unary_unary_rpc_method_handler(
        Echo().Echo, EchoRequest.FromString, EchoResponse.SerializeToString
    )
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(SERVICE.full_name, {"Echo": handler}),)
    )
    return server


async def partial(depth: int) -> Any:
    """The innermost layers only, in the real server's order. Tracing records nothing here."""
    metrics = Metrics()
    layers = [
        Observe(Tracing("bench"), metrics),
        Identify(certificates=False),
        bound,
        Admit(Admission(64, 256, 1.0), 1000, 3600.0, metrics),
    ]
    dispatcher = Dispatcher(asyncio.Event())
    for method, handler in servicer_handlers(Echo()).items():
        dispatcher.add(method, stack(*layers[len(layers) - depth :], handler=handler))
    server = grpc.aio.server(options=_OPTIONS)
    server.add_generic_rpc_handlers((dispatcher,))
    return server


async def serve(kind: str, otlp: str) -> None:
    """One server on core 0 until its standard input ends; its port goes to standard output."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    if kind.startswith("full"):

        async def build(server: Any, settings: ServiceSettings) -> None:
            server.add(Echo())

        settings = ServiceSettings(otlp_endpoint=otlp, trace_sample_ratio=SAMPLE_RATIO)
        async with running("bench", settings, build) as full:
            print(full.port, flush=True)
            await asyncio.to_thread(sys.stdin.read)
        return
    server = await (bare() if kind == "bare" else partial(STACKS[kind]))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(port, flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await server.stop(1)


class Receiver(trace_service_pb2_grpc.TraceServiceServicer):  # type: ignore[misc]
    """A real OTLP endpoint that counts spans."""

    spans = 0

    def Export(self, request: Any, context: Any) -> Any:
        self.spans += sum(len(scope.spans) for spans in request.resource_spans for scope in spans.scope_spans)
        return trace_service_pb2.ExportTraceServiceResponse()


class Process:
    """A server process on core 0."""

    def __init__(self, kind: str, otlp: str) -> None:
        command = [sys.executable, "-m", "bench.hop_echo", kind, otlp]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        while not line.strip().isdigit():  # log lines of the server before its port
            if not line:
                raise RuntimeError(f"the {kind} server did not start")
            line = self._process.stdout.readline()
        self.port = int(line)

    def cpu_s(self) -> float:
        """CPU time of the process so far."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def close(self) -> None:
        """Ends it and waits."""
        self._process.communicate("", timeout=30)


def main() -> None:
    """Runs the comparison and prints it; exits with an error when the ratio is missed."""
    receiver = Receiver()
    otlp = grpc.server(futures.ThreadPoolExecutor(1))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(receiver, otlp)
    otlp_port = otlp.add_insecure_port("127.0.0.1:0")
    otlp.start()
    kinds = ["bare", *STACKS, "full"]
    servers = {kind: Process(kind, f"127.0.0.1:{otlp_port}") for kind in kinds}
    # After the servers, which inherit it: they take the first core, the load and the receiver the last.
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    rates: dict[str, list[float]] = {kind: [] for kind in kinds}
    cpu_us: dict[str, list[float]] = {kind: [] for kind in kinds}
    p50_ms: dict[str, list[float]] = {kind: [] for kind in kinds}
    message = EchoRequest(text="hello", value=1.5).SerializeToString()

    async def measure(kind: str, seconds: float) -> Any:
        return await load(
            servers[kind].port, PATH, [(message, message)],
            concurrency=CONCURRENCY, connections=CONNECTIONS, seconds=seconds,
        )  # fmt: skip

    run: Callable[..., Any] = uvloop.run
    for kind in kinds:
        run(measure(kind, 0.5))
    for _ in range(ROUNDS):
        for kind in kinds:
            before = servers[kind].cpu_s()
            result = run(measure(kind, SECONDS))
            cpu_us[kind].append((servers[kind].cpu_s() - before) / result.calls * 1e6)
            rates[kind].append(result.rate)
            p50_ms[kind].append(statistics.median(result.latencies_s) * 1e3)
    for server in servers.values():
        server.close()
    otlp.stop(1).wait()

    print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()},"
    )
    print(f"grpcio {grpc.__version__}; {ROUNDS} rounds of {SECONDS} s; {receiver.spans} spans exported")
    print(f"{'server':28}{'calls/s':>9}{'p50 ms':>8}{'CPU us/call':>13}{'this layer':>12}{'of bare':>9}")
    last = None
    for kind in kinds:
        ratio = statistics.median(a / b for a, b in zip(rates[kind], rates["bare"], strict=True))
        cost = statistics.median(cpu_us[kind])
        name = {"bare": "bare grpc.aio + uvloop", "full": "full: with 1 % traces"}.get(kind, f"+ {kind}")
        layer = "" if last is None else f"{cost - last:+.0f}"
        print(
            f"{name:28}{statistics.median(rates[kind]):9.0f}{statistics.median(p50_ms[kind]):8.2f}"
            f"{cost:13.0f}{layer:>12}{ratio:9.2f}"
        )
        last = cost
    ratio = statistics.median(a / b for a, b in zip(rates["full"], rates["bare"], strict=True))
    if not receiver.spans:
        sys.exit("no span arrived: the full server did not trace")
    if ratio < REQUIRED:
        sys.exit(f"full / bare is {ratio:.2f}, required is {REQUIRED:.2f}")


if __name__ == "__main__":
    if len(sys.argv) == 3:
        uvloop.run(serve(sys.argv[1], sys.argv[2]))
    else:
        main()
