from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import sys
from pathlib import Path

import pytest
from registry_parts import Registry, eventually, stream

from trunkline_hop.errors import BadRequest, NotAllowed, NotFound, Overloaded
from trunkline_registry.artifacts import Artifacts
from trunkline_registry.blobs import DirectoryBlobs

CONTENT = bytes(range(256)) * 10_000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def artifacts(tmp_path: Path) -> Artifacts:
    return Artifacts(DirectoryBlobs.open(tmp_path / "blobs"), limit_bytes=2**24)


def visible(directory: Path) -> list[str]:
    """Every file under it, those on their way in too."""
    return sorted(path.name for path in directory.rglob("*") if path.is_file())


async def read(artifacts: Artifacts, sha256: str, offset: int = 0) -> list[bytes]:
    return [chunk async for chunk in artifacts.download(sha256, offset)]


async def test_a_file_comes_back_as_it_was_from_any_offset(artifacts: Artifacts) -> None:
    stored = await artifacts.upload(SHA256, len(CONTENT), stream(CONTENT[:7], b"", CONTENT[7:]))
    assert (stored.size_bytes, stored.created) == (len(CONTENT), True)
    for offset in (0, 1, 2**20, len(CONTENT) - 1, len(CONTENT)):
        chunks = await read(artifacts, SHA256, offset)
        assert b"".join(chunks) == CONTENT[offset:]
        assert all(len(chunk) <= 2**20 for chunk in chunks)
    with pytest.raises(BadRequest, match="offset_bytes"):
        await read(artifacts, SHA256, len(CONTENT) + 1)


async def test_an_empty_file_is_a_file(artifacts: Artifacts) -> None:
    empty = hashlib.sha256().hexdigest()
    assert (await artifacts.upload(empty, 0, stream())).created
    assert await read(artifacts, empty) == []


async def test_an_unknown_file_is_not_found(artifacts: Artifacts) -> None:
    with pytest.raises(NotFound, match="ARTIFACT_UNKNOWN"):
        await read(artifacts, "0" * 64)


@pytest.mark.parametrize("stored_before", [False, True])
@pytest.mark.parametrize(
    ("size", "content", "fault"),
    [
        (len(CONTENT) - 1, CONTENT, BadRequest),
        (len(CONTENT) + 1, CONTENT, BadRequest),
        (len(CONTENT), CONTENT[:-1], BadRequest),
        (len(CONTENT), CONTENT[:-1] + b"x", NotAllowed),
        (2**24 + 1, CONTENT, Overloaded),
    ],
)
async def test_a_wrong_upload_leaves_nothing(
    artifacts: Artifacts, tmp_path: Path, size: int, content: bytes, fault: type, stored_before: bool
) -> None:
    if stored_before:
        await artifacts.upload(SHA256, len(CONTENT), stream(CONTENT))
    with pytest.raises(fault):
        await artifacts.upload(SHA256, size, stream(content[:1000], content[1000:]))
    assert visible(tmp_path) == [SHA256] * stored_before


async def test_a_file_stored_again_changes_nothing(artifacts: Artifacts, tmp_path: Path) -> None:
    await artifacts.upload(SHA256, len(CONTENT), stream(CONTENT))
    assert not (await artifacts.upload(SHA256, len(CONTENT), stream(CONTENT))).created
    assert visible(tmp_path) == [SHA256]


async def test_of_equal_uploads_at_once_one_creates_the_file(artifacts: Artifacts, tmp_path: Path) -> None:
    stored = await asyncio.gather(
        *(artifacts.upload(SHA256, len(CONTENT), stream(CONTENT[:9], CONTENT[9:])) for _ in range(8))
    )
    assert sum(each.created for each in stored) == 1
    assert visible(tmp_path) == [SHA256]
    assert b"".join(await read(artifacts, SHA256)) == CONTENT


@pytest.mark.parametrize("steps", range(0, 60, 3))
async def test_an_upload_cancelled_at_any_await_leaves_nothing_or_a_whole_file(
    artifacts: Artifacts, tmp_path: Path, steps: int
) -> None:
    upload = asyncio.create_task(artifacts.upload(SHA256, len(CONTENT), stream(CONTENT[:9], CONTENT[9:])))
    for _ in range(steps):
        await asyncio.wait({upload}, timeout=0)
    upload.cancel()
    await asyncio.gather(upload, return_exceptions=True)
    assert visible(tmp_path) in ([], [SHA256])


async def test_a_start_removes_what_dead_writers_left_and_spares_the_living(tmp_path: Path) -> None:
    blobs = DirectoryBlobs.open(tmp_path)
    (tmp_path / "incoming" / "dead").write_bytes(b"half")
    async with blobs.writer(SHA256) as writer:
        await writer.write(CONTENT)
        DirectoryBlobs.open(tmp_path)
        assert not (tmp_path / "incoming" / "dead").exists()
        assert await writer.commit()
    assert visible(tmp_path) == [SHA256]


UPLOADER = """
import asyncio, hashlib, sys
from pathlib import Path
from trunkline_registry.artifacts import Artifacts
from trunkline_registry.blobs import DirectoryBlobs

async def chunks(content):
    for start in range(0, len(content), 65536):
        yield content[start:start + 65536]

async def main():
    artifacts = Artifacts(DirectoryBlobs.open(Path(sys.argv[1])), 2**30)
    print("ready", flush=True)
    for n in range(10_000):
        content = n.to_bytes(4, "big") * 250_000
        await artifacts.upload(hashlib.sha256(content).hexdigest(), len(content), chunks(content))

asyncio.run(main())
"""


@pytest.mark.parametrize("after_files", [0, 1, 2, 4, 7])
async def test_kill_9_during_uploads_leaves_only_whole_files(tmp_path: Path, after_files: int) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", UPLOADER, str(tmp_path), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"ready\n"
    # The process goes on writing while it is watched, so the kill hits a point of its own each time.
    await eventually(lambda: len(complete(tmp_path)) >= after_files)
    os.kill(process.pid, signal.SIGKILL)
    await process.wait()
    for path in complete(tmp_path):
        assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name
    DirectoryBlobs.open(tmp_path)
    assert list((tmp_path / "incoming").iterdir()) == []


def complete(directory: Path) -> list[Path]:
    return [path for path in directory.glob("??/*") if path.is_file()]


async def test_files_in_use_by_a_version_are_whole(registry: Registry) -> None:
    await registry.model()
    version = await registry.version()
    for file in version.files:
        assert await registry.blobs.size(file.sha256) == file.size_bytes
