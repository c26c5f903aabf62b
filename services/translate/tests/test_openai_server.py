"""An OpenAI-compatible server: what it has, and whether it lets one in."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
import trustme
from openai_http import OpenAi
from openai_parts import answers, engine
from remote_parts import EN_ES, WORDS, ask, whole

from trunkline_translate.engine import EngineFailed, Identity
from trunkline_translate.openai_server import OpenAiEngine
from trunkline_translate.prompts import Prompt, Style


async def test_the_only_model_is_taken_and_of_several_the_one_that_is_named() -> None:
    async with OpenAi(answers, "Qwen/Qwen3-4B") as server:
        async with engine(server) as made:
            await made.probe()
            assert made.identity() == Identity("vllm", "engines/vllm/Qwen--Qwen3-4B")
        server.cards.append({"id": "llama3:latest", "owned_by": "library"})
        async with engine(server) as made:
            with pytest.raises(EngineFailed, match="has 2 models"):
                await made.probe()
        async with engine(server, model="llama3") as made:
            await made.probe()
            assert made.identity().model_version == "engines/vllm/llama3:latest"
        async with engine(server, model="other") as made:
            with pytest.raises(EngineFailed, match="has no model 'other'"):
                await made.probe()


async def test_a_key_that_is_refused_is_told() -> None:
    server = OpenAi(answers)
    server.key = "right"
    async with server:
        async with engine(server, api_key="right") as made:
            assert (await whole(made, ask()))[0] == "".join(WORDS)
        async with engine(server, api_key="wrong") as made:
            with pytest.raises(EngineFailed, match="refuses the key") as failed:
                await made.probe()
        assert "wrong" not in failed.value.why


@pytest.mark.parametrize("listed", ["[]", {"data": [{"name": "x"}]}, {"data": None}, {}])
async def test_what_is_no_openai_server_is_told(listed: object) -> None:
    server = OpenAi(answers)
    server.listed = listed
    async with server, engine(server) as made:
        with pytest.raises(EngineFailed, match="no OpenAI-compatible server"):
            await made.probe()


async def test_a_certificate_of_ones_own_ca_is_trusted_where_it_is_given(tmp_path: Path) -> None:
    ca = trustme.CA()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("127.0.0.1").configure_cert(tls)
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    async with OpenAi(answers, tls=tls) as server:
        async with engine(server, ca=tmp_path / "ca.pem") as made:
            assert (await whole(made, ask()))[0] == "".join(WORDS)
        async with engine(server) as made:
            with pytest.raises(EngineFailed, match="cannot be reached"):
                await made.probe()


async def test_an_address_with_a_password_is_named_without_it() -> None:
    async with OpenAiEngine("http://user:secret@127.0.0.1:1/v1", [EN_ES], Prompt(Style.CODES)) as made:
        with pytest.raises(EngineFailed) as failed:
            await made.probe()
    assert "secret" not in failed.value.why + made.error
