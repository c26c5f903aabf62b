"""What models of other servers are called, in the service and in its trailers."""

from __future__ import annotations

import pytest
import translate_suite as parts
from openai_http import OpenAi, Reply, spoken
from openai_parts import engine
from translate_suite import BOUND_S, ENGLISH, SPANISH, request, trailers

from trunkline_local.embedded import Valkey
from trunkline_translate.engine_names import model_version


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("translator", "translator"),
        ("Qwen/Qwen3-4B", "Qwen--Qwen3-4B"),
        ("/models/qwen", "models--qwen"),
        ("llama3:latest", "llama3:latest"),
        ("größer 2\n", "gr%C3%B6%C3%9Fer%202%0A"),
        ("\ud83d", "%3F"),
    ],
)
def test_any_name_is_one_segment_of_ascii(model: str, name: str) -> None:
    assert model_version("vllm", model) == f"engines/vllm/{name}"


def test_a_version_is_a_segment_of_its_own() -> None:
    assert model_version("triton", "translator", "3") == "engines/triton/translator/3"


async def test_a_model_may_have_any_name_on_its_server(valkey: Valkey) -> None:
    async def translates(reply: Reply) -> None:
        await spoken(reply, SPANISH[0])

    async with (
        OpenAi(translates, "größer") as server,
        engine(server) as made,
        parts.opened(valkey.url) as suite,
    ):
        replica = await suite.start(made)
        call = replica.stub.Translate(request(ENGLISH[0]), timeout=BOUND_S)
        (translation,) = (await call).translations
        (sentence,) = translation.translated.sentences
        assert sentence.provenance.model_version == "engines/vllm/gr%C3%B6%C3%9Fer"
        assert (await trailers(call))["x-trunkline-model-version"] == [sentence.provenance.model_version]
        assert server.asked[0].body["model"] == "größer"
