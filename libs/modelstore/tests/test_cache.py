import asyncio
import contextvars
import hashlib
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from trunkline_hop.errors import Unavailable
from trunkline_modelstore.cache import Cache, Damaged

CONTENT = bytes(range(256)) * 40
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def cache(tmp_path):
    executor = ThreadPoolExecutor(2)
    yield Cache(tmp_path, executor, contextvars.copy_context())
    executor.shutdown()


@pytest.fixture
def file(registry):
    return registry.version(1, CONTENT).files[0]


def names(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


async def test_a_file_is_downloaded_once_and_kept(cache, registry, file, tmp_path):
    path = await cache.fetch(file, registry.download)
    assert path.read_bytes() == CONTENT
    assert await cache.fetch(file, registry.download) == path
    assert registry.downloads == [(SHA256, 0)]
    assert names(tmp_path) == [f"blobs/{SHA256}"]


async def test_many_who_want_one_file_share_one_download(cache, registry, file):
    await asyncio.gather(*(cache.fetch(file, registry.download) for _ in range(30)))
    assert len(registry.downloads) == 1
    assert not len(cache._flights)


async def test_a_download_that_breaks_off_goes_on_where_it_was(cache, registry, file, until):
    registry.gate.clear()
    fetching = asyncio.create_task(cache.fetch(file, registry.download))
    await until(lambda: registry.downloads)
    registry.down = True
    registry.gate.set()
    with pytest.raises(Unavailable):
        await fetching
    registry.down = False
    assert (await cache.fetch(file, registry.download)).read_bytes() == CONTENT
    assert registry.downloads == [(SHA256, 0), (SHA256, 1000)]


async def test_a_truncated_stream_is_asked_for_the_rest_at_once(cache, registry, file):
    registry.deliver = lambda content, offset: content[offset : offset + 3000]
    assert (await cache.fetch(file, registry.download)).read_bytes() == CONTENT
    assert [offset for _, offset in registry.downloads] == [0, 3000, 6000, 9000]


async def test_a_file_that_never_comes_whole_is_never_taken(cache, registry, file, tmp_path):
    registry.deliver = lambda content, offset: content[offset:5000]
    with pytest.raises(Damaged, match="truncated to 5000 of 10240"):
        await cache.fetch(file, registry.download)
    assert names(tmp_path) == [f"partial/{SHA256}"]


@pytest.mark.parametrize(
    "lie",
    [
        pytest.param(lambda content, offset: bytes(len(content) - offset), id="other content"),
        pytest.param(lambda content, offset: content[offset:] + b"!", id="extra bytes"),
        pytest.param(lambda content, offset: (content * 1000)[offset:], id="endless"),
    ],
)
async def test_a_lie_is_found_out_thrown_away_and_the_truth_taken_next_time(
    cache, registry, file, tmp_path, lie
):
    honest, registry.deliver = registry.deliver, lie
    with pytest.raises(Damaged, match="CHECKSUM_MISMATCH"):
        await cache.fetch(file, registry.download)
    assert names(tmp_path) == []
    registry.deliver = honest
    assert (await cache.fetch(file, registry.download)).read_bytes() == CONTENT


async def test_a_bad_part_from_before_costs_one_more_download(cache, registry, file, tmp_path):
    (tmp_path / "partial" / SHA256).write_bytes(b"rubbish")
    assert (await cache.fetch(file, registry.download)).read_bytes() == CONTENT
    assert [offset for _, offset in registry.downloads] == [7, 0]


async def test_a_cached_file_that_rotted_is_fetched_again(cache, registry, file):
    path = await cache.fetch(file, registry.download)
    path.write_bytes(CONTENT[:-1] + b"!")
    assert (await cache.fetch(file, registry.download)).read_bytes() == CONTENT
    assert len(registry.downloads) == 2


async def test_an_empty_file_is_a_file(cache, registry, tmp_path):
    path = await cache.fetch(registry.version(1, b"").files[0], registry.download)
    assert path.read_bytes() == b""
    assert len(names(tmp_path)) == 1


async def test_a_version_has_its_files_under_their_own_names(cache, registry):
    version = registry.version(1, CONTENT)
    for _ in range(2):
        local = await cache.version(version, registry.download)
        assert local.files["model.bin"] == local.directory / "model.bin"
        assert local.files["model.bin"].read_bytes() == CONTENT


async def test_two_processes_may_fetch_one_file_into_one_directory(cache, registry, file, tmp_path):
    other = """
import fcntl, sys
stream = open(sys.argv[1], "ab")
stream.write(b"half"); stream.flush()
fcntl.flock(stream, fcntl.LOCK_EX)
print("locked", flush=True)
sys.stdin.read()
"""
    path = tmp_path / "partial" / SHA256
    with subprocess.Popen(
        [sys.executable, "-c", other, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout.readline() == b"locked\n"
        assert (await cache.fetch(file, registry.download)).read_bytes() == CONTENT
        process.stdin.close()
    assert registry.downloads == [(SHA256, 0)]
    assert names(tmp_path) == [f"blobs/{SHA256}", f"partial/{SHA256}"]


async def test_when_the_last_who_waits_leaves_the_download_ends(cache, registry, file, until, tmp_path):
    registry.gate.clear()
    waiting = [asyncio.create_task(cache.fetch(file, registry.download)) for _ in range(2)]
    await until(lambda: registry.open)
    waiting[0].cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting[0]
    assert registry.open == 1
    waiting[1].cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting[1]
    assert registry.open == 0
    assert not len(cache._flights)
    registry.gate.set()
    assert (await cache.fetch(file, registry.download)).read_bytes() == CONTENT


async def test_sweeping_deletes_the_least_recently_used_that_nobody_wants(cache, registry, tmp_path):
    files = [registry.version(number, bytes([number]) * 1000).files[0] for number in range(1, 5)]
    for age, entry in enumerate(files):
        path = await cache.fetch(entry, registry.download)
        os.utime(path, (1000 + age, 1000 + age))
    assert cache.sweep({files[0].sha256}, 2000) == 2000
    assert names(tmp_path) == sorted(f"blobs/{files[kept].sha256}" for kept in (0, 3))
    assert cache.sweep(set(), 2000) == 0
