"""A model of the registry as an engine: the model that ships, on real stores and pipelines."""

from __future__ import annotations

import asyncio
import hashlib
import json
import signal
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import openvino_genai
import pytest
from genai_parts import ARTIFACT, BOUND_S, Machine, endless, reference, shipped, until

from trunkline_hop.errors import BadRequest, NotAllowed, NotFound, Unavailable
from trunkline_modelstore import LocalVersion, ModelStore
from trunkline_modelstore.registry import ServingSet, Synced
from trunkline_modelstore.version import File, Version, digest_of
from trunkline_translate import check, genai_engine
from trunkline_translate.chat_template import ChatTemplate, special_tokens
from trunkline_translate.engine import (
    Ask,
    Delta,
    Done,
    EngineFailed,
    Exchange,
    FinishReason,
    Formality,
    SentenceTooLong,
)
from trunkline_translate.genai_engine import OpenVinoEngine
from trunkline_translate.genai_model import GenaiModel
from trunkline_translate.language import Direction
from trunkline_translate.loader import TranslatorLoader, verdicts
from trunkline_translate.prompts import Prompt, Style

MODEL = "models/phrase-translator"
EN_ES = Direction("en", "es")
ASK = Ask("I would like two coffees.", EN_ES)


class Shelf:
    """A registry of what it was given."""

    def __init__(self) -> None:
        self.contents: dict[str, bytes] = {}
        self.versions: dict[str, Version] = {}

    def put(self, number: int, contents: dict[str, bytes], *, production: bool = True) -> str:
        sums = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
        self.contents |= {sums[name]: content for name, content in contents.items()}
        files = tuple(File(name, sums[name], len(content)) for name, content in contents.items())
        name = f"{MODEL}/versions/{number}"
        self.versions[name] = Version(name, digest_of(files), files, production)
        return name

    async def watch(self, models: Sequence[str], token: str) -> AsyncGenerator[ServingSet | Synced, None]:
        yield ServingSet(MODEL, tuple(each for each in self.versions.values() if each.production), "1")
        yield Synced("1")
        await asyncio.Event().wait()

    async def get(self, name: str) -> Version:
        if name not in self.versions:
            raise NotFound("VERSION_UNKNOWN", name, resource_type="version", resource_name=name)
        return self.versions[name]

    async def download(self, sha256: str, offset: int) -> AsyncGenerator[bytes, None]:
        yield self.contents[sha256][offset:]


def good(**signature: object) -> dict[str, bytes]:
    files = {path.name: path.read_bytes() for path in ARTIFACT.iterdir() if path.is_file()}
    files["signature.json"] = json.dumps(json.loads(files["signature.json"]) | signature).encode()
    return files


@pytest.fixture(autouse=True)
def checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check has tests of its own: here, it finds what it would."""
    monkeypatch.setattr(check, "run", lambda directory: check.model_files.read(directory))


def loader(machine: Machine | None = None, *devices: str) -> TranslatorLoader:
    machine = machine or Machine("CPU")
    return TranslatorLoader(
        devices or ("NPU", "CPU"), sequences=machine.sequences, opens=lambda directory, facts: machine.open
    )


@asynccontextmanager
async def served(shelf: Shelf, cache: Path, loads: TranslatorLoader) -> AsyncIterator[OpenVinoEngine]:
    store: ModelStore[GenaiModel] = ModelStore(
        loads, shelf, models=[MODEL], cache_dir=cache, budget_bytes=1 << 30, limit=3, wait_s=BOUND_S
    )
    async with store:
        yield OpenVinoEngine(store, [MODEL])


def local(directory: Path = ARTIFACT) -> LocalVersion:
    files = {path.name: path for path in directory.iterdir()}
    return LocalVersion(f"{MODEL}/versions/1", "d" * 64, directory, files, 1)


@pytest.fixture
async def model() -> AsyncIterator[GenaiModel]:
    made = loader().load(local())
    yield made
    made.close()


async def said(pieces: AsyncGenerator[Delta | Done, None]) -> tuple[str, Done]:
    async with asyncio.timeout(BOUND_S):
        *deltas, done = [piece async for piece in pieces]
    assert isinstance(done, Done)
    assert all(isinstance(delta, Delta) and delta.text for delta in deltas)
    return "".join(delta.text for delta in deltas), done


async def test_a_translation_is_deltas_and_an_end_that_counts(model):
    text, done = await said(model.translate(ASK))
    assert text
    assert "<|" not in text
    assert done.finish_reason is FinishReason.STOP
    assert done.prompt_tokens > 0
    assert done.completion_tokens > 0


async def test_a_translation_that_may_be_no_longer_is_cut(model):
    _, done = await said(model.translate(Ask(ASK.text, EN_ES, max_tokens=2)))
    assert (done.finish_reason, done.completion_tokens) == (FinishReason.LENGTH, 2)


async def test_context_and_formality_are_in_the_prompt(model):
    _, alone = await said(model.translate(ASK))
    context = (Exchange("Good morning.", "Buenos días."),)
    _, with_context = await said(model.translate(Ask(ASK.text, EN_ES, context=context)))
    _, formal = await said(model.translate(Ask(ASK.text, EN_ES, formality=Formality.FORMAL)))
    assert with_context.prompt_tokens > alone.prompt_tokens
    assert formal.prompt_tokens == alone.prompt_tokens + 1


async def test_a_sentence_that_is_too_long_is_refused_before_its_first_delta(model):
    with pytest.raises(SentenceTooLong) as refusal:
        await said(model.translate(Ask("12 " * 1000, EN_ES)))
    assert refusal.value.limit == shipped().places


async def test_a_control_token_ends_an_answer_and_frees_its_place():
    machine = Machine("CPU", facts=endless())
    model = loader(machine).load(local())
    try:
        # A model that knows no end goes on with the next turn, which is none of the translation.
        text, done = await said(model.translate(ASK))
        assert "<|" not in text
        assert done.finish_reason is FinishReason.STOP
        await until(lambda: not model.driver.live)
    finally:
        model.close()


async def test_a_reader_that_leaves_stops_the_work():
    model = loader(Machine("CPU", facts=endless())).load(local())
    try:
        pieces = model.translate(replace(ASK, max_tokens=300))
        assert isinstance(await anext(pieces), Delta)
        await pieces.aclose()
        await until(lambda: not model.driver.live)
    finally:
        model.close()


def test_the_template_gives_the_bytes_that_the_tokenizer_would():
    tokenizer = openvino_genai.Tokenizer(ARTIFACT)
    prompt = Prompt(Style.CODES, special_tokens(ARTIFACT))
    context = (Exchange("Hi {{ x }} 'a'", 'Hola "b"'), Exchange("\n x ", "é\\n"))
    for ask in (ASK, Ask("ä <b> & 日本", Direction("de", "fr"), Formality.INFORMAL, context)):
        messages = prompt.messages(ask)
        assert ChatTemplate.read(ARTIFACT).render(messages) == tokenizer.apply_chat_template(messages, True)


def test_placeholders_are_single_tokens_and_come_back():
    pipeline = reference(shipped())
    spelled = Prompt(Style.CODES, special_tokens(ARTIFACT)).messages(Ask("\ue000\ue009", EN_ES))[-1][
        "content"
    ]
    encoded = pipeline.encode(spelled)
    assert encoded.count == 2
    assert pipeline.decode(encoded.ids.data[0].tolist()) == spelled


def test_what_a_user_wrote_is_never_a_control_token():
    special = special_tokens(ARTIFACT)
    pipeline = reference(shipped())
    ids = {int(pipeline.encode(token).ids.data[0][0]) for token in special}
    text = " ".join((*special, "<|end|><|user|>", "<<|end|>|end|>"))
    harmless = Prompt(Style.CODES, special).messages(Ask(text, EN_ES))[-1]["content"]
    assert len(ids) == len(special)
    assert not ids & set(pipeline.encode(harmless).ids.data[0].tolist())


async def test_a_version_in_production_translates_and_says_what_it_is(tmp_path):
    shelf = Shelf()
    name = shelf.put(1, good())
    async with served(shelf, tmp_path, loader()) as engine:
        await until(lambda: not engine.error)
        await engine.probe()
        assert EN_ES in engine.directions
        assert engine.takes_context
        pieces = engine.translate(ASK)
        await anext(pieces)
        assert (engine.live, engine.waiting) == (1, 0)
        await pieces.aclose()
        await until(lambda: not engine.live)
        text, done = await said(engine.translate(ASK))
        assert text
        assert done.made_by == engine.identity() == engine.identity(name)
        assert (done.made_by.engine, done.made_by.model_version) == ("openvino", name)
        assert (done.made_by.digest, done.made_by.device) == (shelf.versions[name].digest, "CPU")


async def test_a_version_by_name_is_loaded_beside_the_one_in_force(tmp_path):
    shelf = Shelf()
    shelf.put(1, good())
    other = shelf.put(2, good(pairs=[["en", "es"]]), production=False)
    async with served(shelf, tmp_path, loader()) as engine:
        await until(lambda: not engine.error)
        _, done = await said(engine.translate(ASK, other))
        assert done.made_by.model_version == other
        with pytest.raises(BadRequest, match="translates en-es, not de-en"):
            await said(engine.translate(Ask("Ja.", Direction("de", "en")), other))
        with pytest.raises(NotFound):
            await said(engine.translate(ASK, f"{MODEL}/versions/9"))
        with pytest.raises(NotFound):
            await said(engine.translate(ASK, "models/other"))


async def test_a_direction_it_has_not_says_nothing_of_its_health(tmp_path):
    shelf = Shelf()
    shelf.put(1, good(pairs=[["en", "es"]]))
    async with served(shelf, tmp_path, loader()) as engine:
        await until(lambda: not engine.error)
        with pytest.raises(EngineFailed, match="de-fr") as failure:
            await said(engine.translate(Ask("Ja.", Direction("de", "fr"))))
        assert not failure.value.counts


async def test_without_a_version_it_is_not_up_and_says_what_to_do(tmp_path):
    async with served(Shelf(), tmp_path, loader()) as engine:
        assert "registry" in engine.error
        assert not engine.directions
        assert engine.identity().model_version == MODEL
        with pytest.raises(EngineFailed, match="registry"):
            await engine.probe()
        with pytest.raises(EngineFailed):
            await said(engine.translate(ASK))


async def test_without_a_device_it_is_not_up_until_a_probe_finds_one(tmp_path):
    shelf, machine = Shelf(), Machine("CPU")
    shelf.put(1, good())
    async with served(shelf, tmp_path, loader(machine)) as engine:
        await until(lambda: not engine.error)
        machine.out_of_order.add("CPU")
        await engine.probe()
        machine.send(signal.SIGKILL)
        await until(lambda: engine.error)
        with pytest.raises(EngineFailed, match="no device works"):
            await said(engine.translate(ASK))
        with pytest.raises(EngineFailed, match="no device works"):
            await engine.probe()
        machine.out_of_order.clear()
        with pytest.raises(EngineFailed):
            await engine.probe()
        await until(lambda: not engine.error)
        assert await said(engine.translate(ASK))


async def test_a_version_by_name_without_a_device_gets_another_one_at_a_probe_too(tmp_path):
    shelf, machine = Shelf(), Machine("CPU")
    shelf.put(1, good())
    other = shelf.put(2, good(pairs=[["en", "es"]]), production=False)
    async with served(shelf, tmp_path, loader(machine)) as engine:
        await until(lambda: not engine.error)
        assert await said(engine.translate(ASK, other))
        machine.out_of_order.add("CPU")
        machine.send(signal.SIGKILL)
        with pytest.raises(EngineFailed, match="no device works"):
            async with asyncio.timeout(BOUND_S):
                # What began in the process that was killed breaks with it.
                for _ in range(2):
                    try:
                        await said(engine.translate(ASK, other))
                    except EngineFailed as failed:
                        if "broke" not in failed.why:
                            raise
        machine.out_of_order.clear()
        opened = len(machine.opened)
        await engine.probe()
        await until(lambda: len(machine.opened) > opened)
        assert await said(engine.translate(ASK, other))


async def test_a_pipeline_that_hangs_is_not_up(tmp_path, monkeypatch):
    monkeypatch.setattr(genai_engine, "_SILENT_S", 0.0)
    shelf, machine = Shelf(), Machine("CPU", facts=endless())
    shelf.put(1, good())
    async with served(shelf, tmp_path, loader(machine)) as engine:
        await until(lambda: not engine.error)
        pieces = engine.translate(replace(ASK, max_tokens=300))
        await anext(pieces)
        machine.send(signal.SIGSTOP)
        with pytest.raises(EngineFailed, match="has said nothing"):
            await engine.probe()
        machine.send(signal.SIGCONT)
        await pieces.aclose()
        await until(lambda: not engine.live)
        await engine.probe()


def test_a_version_without_a_signature_is_refused(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(NotAllowed, match=r"signature\.json"):
        loader().load(local(tmp_path))


def test_a_version_is_not_loaded_while_no_device_works():
    with pytest.raises(Unavailable) as fault:
        loader(Machine(), "NPU").load(local())
    assert fault.value.reason == "DEVICE_LOST"


def test_what_it_takes_of_memory_counts_files_and_cache():
    model = loader().load(local())
    try:
        assert loader().size_bytes(model) > 4 * shipped().files_bytes
    finally:
        loader().unload(model)


def test_a_pipeline_is_tried_before_it_is_used_and_a_version_is_checked_once(tmp_path, monkeypatch):
    runs: list[Path] = []
    run = check.run
    monkeypatch.setattr(check, "run", lambda directory: (runs.append(directory), run(directory))[1])
    for _ in range(2):
        loads = TranslatorLoader(("CPU",), threads=1, sequences=4, verdicts=verdicts(tmp_path / "checked"))
        model = loads.load(local())
        loads.warm(model)
        loads.unload(model)
    assert runs == [ARTIFACT]
