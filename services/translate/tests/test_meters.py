"""What engines show of themselves."""

from __future__ import annotations

from translator_parts import HARD, Bench, Opinions, engine, task

from trunkline_hop.metrics import Metrics
from trunkline_translate.engine import Done, EngineFailed, FinishReason, Identity
from trunkline_translate.meters import Meters


async def test_an_answer_counts_for_the_version_that_made_it() -> None:
    made_by = Identity("openvino", "models/m/versions/3")
    bench = await Bench.of(engine("openvino", "Hola", Done(FinishReason.STOP, 5, 4, made_by=made_by)))
    await bench.answer(task())
    labels = {"service": "translate", "model": "models/m", "version": "3"}
    assert bench.count("ml_inference_latency_seconds_count", **labels) == 1
    assert bench.count("translate_first_token_seconds_count", engine="openvino") == 1
    assert bench.count("translate_tokens_total", engine="openvino", kind="prompt") == 5
    assert bench.count("translate_tokens_total", engine="openvino", kind="completion") == 4


async def test_an_engine_outside_the_registry_has_no_version() -> None:
    made_by = Identity("vllm", "engines/vllm/qwen")
    bench = await Bench.of(engine("vllm", "Hola", Done(FinishReason.STOP, made_by=made_by)))
    await bench.answer(task())
    labels = {"service": "translate", "model": "engines/vllm/qwen", "version": ""}
    assert bench.count("ml_inference_latency_seconds_count", **labels) == 1


async def test_what_fails_counts_by_why() -> None:
    bench = await Bench.of(
        engine("triton", EngineFailed("gone")),
        engine("vllm", EngineFailed("full", counts=False)),
        engine("openvino", "Hallo"),
        engine("apertium", "Hola"),
        checks=Opinions(Hallo=HARD),
    )
    await bench.answer(task())
    for name, why in (("triton", "failed"), ("vllm", "busy")):
        labels = {"service": "translate", "model": f"models/{name}", "error_type": why}
        assert bench.count("ml_inference_errors_total", **labels) == 1
    assert bench.count("translate_check_failures_total", engine="openvino", check="language") == 1
    for left, to, why in (
        ("triton", "vllm", "failed"),
        ("vllm", "openvino", "busy"),
        ("openvino", "apertium", "rejected"),
    ):
        assert bench.count("translate_fallbacks_total", **{"from": left, "to": to, "why": why}) == 1


def test_an_engine_s_state_is_read_when_somebody_asks() -> None:
    metrics = Metrics()
    states = iter(["closed", "open"])
    Meters("translate", metrics).watch("triton", lambda: True, lambda: next(states))
    seen = [
        metrics.registry.get_sample_value("translate_engine_breaker_state", {"engine": "triton"})
        for _ in range(2)
    ]
    assert seen == [0, 2]
    assert metrics.registry.get_sample_value("translate_engine_up", {"engine": "triton"}) == 1


def test_how_much_an_engine_has_to_do_is_read_when_somebody_asks() -> None:
    metrics = Metrics()
    Meters("translate", metrics).count("openvino", lambda: 3, lambda: 5)
    for state, count in (("live", 3), ("waiting", 5)):
        labels = {"engine": "openvino", "state": state}
        assert metrics.registry.get_sample_value("translate_sentences", labels) == count
