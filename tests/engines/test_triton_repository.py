"""The model repository of deploy/triton on a real Triton server, and as vLLM reads it."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from pathlib import Path

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from trunkline_phrase_translator.held_out import held_out
from trunkline_translate.chat_template import ChatTemplate, special_tokens
from trunkline_translate.engine import Ask, Delta, Done, EngineFailed, FinishReason, Priority, SentenceTooLong
from trunkline_translate.language import Direction
from trunkline_translate.prompts import Prompt, Style
from trunkline_translate.triton import TritonEngine

ROOT = Path(__file__).parents[2]
REPOSITORY = ROOT / "deploy" / "triton"
ENVIRONMENT = ROOT / ".engines" / "triton"
VLLM = ROOT / ".engines" / "vllm" / "bin" / "python"
MODEL = ROOT / "models" / "phrase-translator" / "artifact"
NAME = "translator-batched"
BOUND_S = 120.0
EN_ES = Direction("en", "es")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server with the batched model; its gRPC address."""
    place = tmp_path_factory.mktemp("triton")
    packages = next((ENVIRONMENT / "lib").glob("python3.*")) / "site-packages"
    shipped = packages / "pytriton" / "tritonserver"
    backend = place / "backends" / "python"
    shutil.copytree(shipped / "backends" / "python", backend)
    stub = backend / "triton_python_backend_stub"
    shutil.copy(
        shipped / "python_backend_stubs" / packages.parent.name.removeprefix("python") / stub.name, stub
    )
    stub.chmod(0o755)
    shutil.copytree(REPOSITORY / "models" / NAME, place / "models" / NAME)
    _serve_here(place / "models" / NAME / "config.pbtxt")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    with (place / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                shipped / "bin" / "tritonserver",
                f"--model-repository={place / 'models'}",
                f"--backend-directory={place / 'backends'}",
                f"--backend-config=python,shm-region-prefix-name=trunkline{port}",
                "--allow-http=false",
                "--allow-metrics=false",
                "--grpc-address=127.0.0.1",
                f"--grpc-port={port}",
            ],
            env=os.environ
            | {
                # The interpreter that the stub looks for, its packages, and the server's own libraries.
                "PATH": f"{ENVIRONMENT / 'bin'}:{os.environ['PATH']}",
                "PYTHONPATH": str(packages),
                "LD_LIBRARY_PATH": f"{packages / 'nvidia_pytriton.libs'}:/usr/lib/x86_64-linux-gnu",
            },
            stdout=log,
            stderr=log,
        )
    try:
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@pytest.fixture
async def engine(server: str) -> AsyncIterator[TritonEngine]:
    prompt = Prompt(Style.CODES, special_tokens(MODEL))
    async with TritonEngine(server, NAME, [EN_ES], prompt, ChatTemplate.read(MODEL)) as made:
        async with asyncio.timeout(BOUND_S):
            while made.error:
                try:
                    await made.probe()
                except EngineFailed:
                    await asyncio.sleep(0.1)
        yield made


async def whole(made: TritonEngine, ask: Ask) -> tuple[str, Done]:
    async with asyncio.timeout(BOUND_S), aclosing(made.translate(ask)) as pieces:
        said = [piece async for piece in pieces]
    assert isinstance(said[-1], Done)
    return "".join(piece.text for piece in said if isinstance(piece, Delta)), said[-1]


async def test_a_sentence_is_translated_and_counted(engine: TritonEngine) -> None:
    text, done = await whole(engine, Ask("Where is the station?", EN_ES))
    assert text
    assert done.finish_reason is FinishReason.STOP
    assert done.prompt_tokens > done.completion_tokens > 0
    assert done.made_by is not None
    assert done.made_by.model_version == f"engines/triton/{NAME}/1"
    assert done.made_by.device == "CPU"


async def test_phrases_come_back_as_their_characters(engine: TritonEngine) -> None:
    text, _ = await whole(engine, Ask("I would like \ue000, please.", EN_ES))
    assert text.count("\ue000") == 1


async def test_a_batch_gives_each_its_own_answer_and_the_same_as_alone(engine: TritonEngine) -> None:
    sentences = [each.source for each in held_out("en", "es", 10, answers=False)]
    alone = [(await whole(engine, Ask(sentence, EN_ES)))[0] for sentence in sentences]
    priorities = [Priority.INTERACTIVE, Priority.BATCH]
    together = await asyncio.gather(
        *(
            whole(engine, Ask(sentence, EN_ES, priority=priorities[place % 2]))
            for place, sentence in enumerate(sentences)
        )
    )
    assert [text for text, _ in together] == alone
    assert len(set(alone)) == len(set(sentences))


async def test_a_long_answer_is_cut_where_it_was_asked_to_be(engine: TritonEngine) -> None:
    _, done = await whole(engine, Ask("Where is the station?", EN_ES, max_tokens=2))
    assert (done.finish_reason, done.completion_tokens) == (FinishReason.LENGTH, 2)


async def test_a_sentence_that_does_not_fit_is_too_long(engine: TritonEngine) -> None:
    with pytest.raises(SentenceTooLong) as failed:
        await whole(engine, Ask("word " * 300, EN_ES))
    assert failed.value.tokens > failed.value.limit


def test_vllm_has_the_arguments_that_the_repository_gives_it() -> None:
    read = (
        "import json, sys; from vllm.engine.arg_utils import AsyncEngineArgs; "
        "[AsyncEngineArgs(**json.load(open(file))) for file in sys.argv[1:]]"
    )
    files = [
        REPOSITORY / "models" / "translator" / "1" / "model.json",
        REPOSITORY / "speculative" / "model.json",
    ]
    answer = subprocess.run(
        [VLLM, "-c", read, *files], capture_output=True, text=True, timeout=2 * BOUND_S, check=False
    )
    assert answer.returncode == 0, answer.stderr


def _serve_here(file: Path) -> None:
    """Gives the model its files of this checkout."""
    config = text_format.Parse(file.read_text(encoding="utf-8"), model_config_pb2.ModelConfig())
    config.parameters["model_directory"].string_value = str(MODEL)
    file.write_text(text_format.MessageToString(config), encoding="utf-8")
