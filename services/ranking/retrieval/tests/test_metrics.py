from __future__ import annotations

import re
import urllib.request
from asyncio import to_thread
from pathlib import Path

import pytest
from retrieval_parts import Replica, until, vectors

from trunkline.retrieval.v1 import retrieval_pb2 as pb
from trunkline_hop import running
from trunkline_hop.errors import Fault
from trunkline_retrieval.__main__ import build
from trunkline_retrieval.log import segments
from trunkline_retrieval.settings import Settings


def scraped(port: int) -> dict[str, float]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        text = answer.read().decode()
    return {
        name: float(value)
        for name, value in re.findall(r'^retrieval_(\w+)\{index="books"\} (\S+)$', text, re.MULTILINE)
    }


async def test_an_index_is_measured_while_it_changes(tmp_path: Path) -> None:
    settings = Settings(port=0, metrics_port=0, blob_dir=tmp_path, drain_grace_s=1.0)
    async with running("retrieval", settings, build) as server, running("other", settings, build) as other:
        replica, reader = Replica(tmp_path, server.port, {}), Replica(tmp_path, other.port, {})
        for each in (replica, reader):
            each.attach()
            await each.ready()
        await replica.create()
        await replica.upsert(vectors(1, 30))
        await replica.built()
        await replica.delete(["v1", "v2"])
        await replica.search([0.0] * 8)
        seen = await to_thread(scraped, server.monitoring_port)
        age = seen.pop("snapshot_age_seconds")
        assert 0 <= age < 3600
        assert seen.pop("search_seconds_count") == 1
        assert seen.pop("search_seconds_sum") > 0
        assert seen == {
            "vectors": 28,
            "unmerged_changes": 2,
            "sequence": 2,
            "follower_lag_seconds": 0,
            "writer": 1,
            "damaged": 0,
            "refused_snapshots": 0,
        }
        await reader.search([0.0] * 8, min_sequence=2)
        seen = await to_thread(scraped, other.monitoring_port)
        assert (seen["writer"], seen["vectors"], seen["sequence"]) == (0, 28, 2)
        assert seen["follower_lag_seconds"] < 60
        await replica.close()
        await reader.close()


async def test_a_log_that_rots_under_a_running_reader_is_said_and_nothing_is_made_up(tmp_path: Path) -> None:
    settings = Settings(port=0, metrics_port=0, blob_dir=tmp_path, drain_grace_s=1.0)
    async with running("retrieval", settings, build) as server:
        writer = Replica(tmp_path, server.port, {})
        writer.attach()
        await writer.ready()
        await writer.create()
        await writer.upsert(vectors(1, 10))
        (log,) = tmp_path.glob("books.*/log")
        path = log / segments(log)[-1].file_name
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(bytes(content))
        async with running("other", settings, build) as other:
            reader = Replica(tmp_path, other.port, {})
            reader.attach()
            await reader.ready()
            with pytest.raises(Fault) as damaged:
                await reader.search([0.0] * 8)
            assert (damaged.value.status, damaged.value.reason) == (
                "FAILED_PRECONDITION",
                "CHECKSUM_MISMATCH",
            )
            assert (await to_thread(scraped, other.monitoring_port))["damaged"] == 1
            # The writer has it all in memory: a snapshot of it mends the readers.
            assert (await writer.built()).state == pb.SNAPSHOT_STATE_ACTIVE

            async def mended() -> bool:
                return not (await to_thread(scraped, other.monitoring_port))["damaged"]

            await until(mended)
            assert len(await reader.ids()) == 10
            await reader.close()
        await writer.close()
