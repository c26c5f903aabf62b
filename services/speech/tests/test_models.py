"""From a registry's files to speech: the store, the check, the pipelines and the choice together."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from recogniser_parts import ARTIFACT, Listener, meters, noise, until

from trunkline_hop.errors import NotAllowed, NotFound
from trunkline_modelstore import ModelStore
from trunkline_modelstore.registry import ServingSet, Synced
from trunkline_modelstore.status import State
from trunkline_modelstore.version import File, Version, digest_of
from trunkline_speech.choice import Recognisers
from trunkline_speech.config import Options
from trunkline_speech.loader import WhisperLoader
from trunkline_speech.model_files import LOADED, SIGNATURE
from trunkline_speech.recogniser import Hearing

MODEL = "models/whisper-micro"
SPHINX = "engines/pocketsphinx"


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
        serving = tuple(version for version in self.versions.values() if version.production)
        yield ServingSet(MODEL, serving, "1")
        yield Synced("1")
        await asyncio.Event().wait()

    async def get(self, name: str) -> Version:
        if name not in self.versions:
            raise NotFound("VERSION_UNKNOWN", name, resource_type="version", resource_name=name)
        return self.versions[name]

    async def download(self, sha256: str, offset: int) -> AsyncGenerator[bytes, None]:
        yield self.contents[sha256][offset:]


def good() -> dict[str, bytes]:
    return {name: (ARTIFACT / name).read_bytes() for name in (SIGNATURE, *LOADED)}


@asynccontextmanager
async def served(shelf: Shelf, cache: Path) -> AsyncIterator[tuple[Recognisers, ModelStore]]:
    store = ModelStore(
        WhisperLoader(("NPU", "CPU"), 1, 10, meters()),
        shelf,
        models=[MODEL],
        cache_dir=cache,
        budget_bytes=1 << 30,
        limit=3,
        wait_s=60.0,
    )
    async with store:
        yield Recognisers(store, [MODEL], {SPHINX: Listener(SPHINX, engine="pocketsphinx")}), store


async def test_a_version_in_production_hears_and_one_by_name_beside_it(tmp_path):
    shelf = Shelf()
    production = shelf.put(1, good())
    signature = json.loads(good()[SIGNATURE]) | {"languages": ["es"]}
    candidate = shelf.put(2, good() | {SIGNATURE: json.dumps(signature).encode()}, production=False)
    async with served(shelf, tmp_path) as (recognisers, _):
        await until(recognisers.ready)
        async with recognisers.lease(Options()) as one, recognisers.lease(Options(candidate)) as other:
            assert (one.name, other.name) == (production, candidate)
            assert other.languages == ("es",)
            heard = await asyncio.gather(*(each.hear(noise(1), Hearing()) for each in (one, other)))
            assert [each.device for each in heard] == ["CPU", "CPU"]
        engine, first, second = recognisers.listing()
        assert engine.name == SPHINX
        assert (first.name, first.state, first.engine) == (production, State.IN_FORCE, "openvino")
        assert (second.name, second.state) == (candidate, State.READY)
        assert first.digest == shelf.versions[production].digest
        assert [(device.name, device.active) for device in first.devices] == [("NPU", False), ("CPU", True)]


async def test_a_broken_version_is_listed_with_the_reason_and_the_engine_stands_in(tmp_path):
    shelf = Shelf()
    generation = json.loads(good()["generation_config.json"]) | {"eos_token_id": 50257}
    broken = shelf.put(1, good() | {"generation_config.json": json.dumps(generation).encode()})
    async with served(shelf, tmp_path) as (recognisers, _):
        await until(lambda: any(each.state is State.REFUSED for each in recognisers.listing()))
        refused = next(each for each in recognisers.listing() if each.name == broken)
        assert "eos_token_id is 50257" in refused.error
        assert not recognisers.ready()
        async with recognisers.lease(Options(language="en")) as recogniser:
            heard = await recogniser.hear(noise(1), Hearing())
        assert heard.degradations == ("fallback_engine",)
        with pytest.raises(NotAllowed, match="MODEL_REFUSED"):
            async with recognisers.lease(Options(model=MODEL)):
                pass
