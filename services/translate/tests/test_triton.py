"""A Triton server: what its model is, and whether it lets one in."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import grpc
import pytest
import trustme
from remote_parts import EN_ES, WORDS, ask, whole
from triton_parts import TEMPLATE, engine, flagged
from triton_server import Asked, Response, Triton, said

from trunkline_translate.engine import EngineFailed, Identity
from trunkline_translate.prompts import Prompt, Style
from trunkline_translate.triton import TritonEngine


async def test_what_translates_is_named_with_its_version_and_device() -> None:
    async with Triton(flagged) as server, engine(server) as made:
        assert made.identity() == Identity("triton", "engines/triton/translator")
        _, done = await whole(made, ask())
        assert done.made_by == Identity("triton", "engines/triton/translator/3", device="GPU")
        assert made.identity() == done.made_by


async def test_the_tensors_are_asked_for_once_and_again_after_a_failure() -> None:
    async with Triton(flagged) as server, engine(server) as made:
        await made.probe()
        await made.probe()
        await whole(made, ask())
        assert server.metadata_reads == 1
        server.ready = False
        with pytest.raises(EngineFailed, match="does not serve 'translator' now"):
            await made.probe()
        server.ready, server.version = True, "4"
        await made.probe()
        assert server.metadata_reads == 2
        assert made.identity().model_version == "engines/triton/translator/4"


async def test_an_answer_says_itself_which_version_made_it() -> None:
    async def newer(server: Triton, asked: Asked) -> AsyncIterator[Response]:
        response = said("Hola.", final=True)
        response.infer_response.model_version = "4"
        yield response

    async with Triton(newer) as server, engine(server) as made:
        _, done = await whole(made, ask())
    assert done.made_by == Identity("triton", "engines/triton/translator/4", device="GPU")


async def test_a_model_that_was_replaced_by_one_that_is_asked_otherwise_is_looked_at_again() -> None:
    server = Triton(flagged)
    server.decoupled = False
    async with server, engine(server) as made:
        await whole(made, ask())
        server.decoupled = True
        with pytest.raises(EngineFailed, match="UNIMPLEMENTED"):
            await whole(made, ask())
        await made.probe()
        assert (await whole(made, ask()))[0] == "".join(WORDS)


def without_answer(server: Triton) -> None:
    del server.outputs["text_output"]


def without_text(server: Triton) -> None:
    del server.inputs["text_input"]


def numeric_text(server: Triton) -> None:
    server.inputs["text_input"] = "INT64"


def numeric_answer(server: Triton) -> None:
    server.outputs["text_output"] = "FP32"


def asks_for_more(server: Triton) -> None:
    server.inputs["max_tokens"] = "INT32"


@pytest.mark.parametrize(
    ("change", "tensor"),
    [
        (without_answer, "no output 'text_output'"),
        (without_text, "no input 'text_input'"),
        (numeric_text, "'text_input' is of INT64"),
        (numeric_answer, "'text_output' is of FP32"),
        (asks_for_more, "asks for an input 'max_tokens'"),
    ],
)
async def test_a_model_with_other_tensors_is_refused_by_the_name_of_the_tensor(
    change: Callable[[Triton], None], tensor: str
) -> None:
    server = Triton(flagged)
    change(server)
    async with server, engine(server) as made:
        with pytest.raises(EngineFailed, match=tensor):
            await made.probe()
        assert tensor in made.error


async def test_a_model_that_the_server_does_not_have_is_named() -> None:
    async with Triton(flagged) as server, engine(server, model="other") as made:
        with pytest.raises(EngineFailed, match="has no model 'other'"):
            await made.probe()


async def test_a_server_that_hides_its_configuration_is_asked_by_streams() -> None:
    server = Triton(flagged)
    server.restricted = {"model-config"}
    async with server, engine(server) as made:
        assert (await whole(made, ask()))[0] == "".join(WORDS)
        assert made.identity().device == ""


async def test_a_server_that_lets_nobody_in_says_so() -> None:
    server = Triton(flagged)
    server.restricted = {"health"}
    async with server, engine(server) as made:
        with pytest.raises(EngineFailed, match="restricted"):
            await made.probe()


async def test_a_connection_is_encrypted_where_a_ca_is_given(tmp_path: Path) -> None:
    ca = trustme.CA()
    own = ca.issue_cert("127.0.0.1")
    chain = b"".join(blob.bytes() for blob in own.cert_chain_pems)
    credentials = grpc.ssl_server_credentials([(own.private_key_pem.bytes(), chain)])
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    trustme.CA().cert_pem.write_to_path(tmp_path / "other.pem")
    async with Triton(flagged, credentials=credentials) as server:

        def made(certificate: str) -> TritonEngine:
            place = tmp_path / certificate
            return TritonEngine(server.target, "translator", [EN_ES], Prompt(Style.CODES), TEMPLATE, ca=place)

        async with made("ca.pem") as trusting:
            assert (await whole(trusting, ask()))[0] == "".join(WORDS)
        async with made("other.pem") as wary:
            with pytest.raises(EngineFailed, match="cannot be reached"):
                await wary.probe()


async def test_a_server_that_is_no_triton_is_a_failure() -> None:
    server = grpc.aio.server()
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        made = TritonEngine(f"127.0.0.1:{port}", "translator", [EN_ES], Prompt(Style.CODES), TEMPLATE)
        async with made:
            with pytest.raises(EngineFailed, match="UNIMPLEMENTED"):
                await made.probe()
    finally:
        await server.stop(None)
