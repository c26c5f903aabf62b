from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline_retrieval.index import IndexType
from trunkline_retrieval.manifest import FileDigest, Manifest, ManifestError

MANIFEST = Manifest(
    snapshot_id="s1",
    index_uid="uid",
    sequence=17,
    vector_count=3,
    type=IndexType.HNSW,
    parameters={"m": 32, "ef_search": 120},
    recall=0.987,
    search_time_s=0.00025,
    memory_bytes=4096,
    files={"b.npz": FileDigest("0" * 64, 5), "a.faiss": FileDigest("f" * 64, 0)},
    create_time=datetime(2026, 1, 2, 3, 4, 5, 678901, UTC),
    end_time=datetime(2026, 1, 2, 3, 5, tzinfo=UTC),
)


def test_a_manifest_is_read_as_it_was_written() -> None:
    assert Manifest.from_json(MANIFEST.to_json()) == MANIFEST


@given(
    st.floats(0, 1),
    st.floats(0, 1e6),
    st.integers(0, 2**62),
    st.datetimes(timezones=st.just(UTC)),
    st.sampled_from(IndexType),
)
def test_every_number_and_time_is_kept_exactly(
    recall: float, seconds: float, number: int, time: datetime, type_: IndexType
) -> None:
    manifest = replace(
        MANIFEST, recall=recall, search_time_s=seconds, sequence=number, end_time=time, type=type_
    )
    assert Manifest.from_json(manifest.to_json()) == manifest


def test_its_digest_is_that_of_what_sha256sum_prints(tmp_path: Path) -> None:
    contents = {"ids.npz": b"ids", "index.faiss": b"index", "attributes.npz": b""}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    printed = subprocess.run(
        ["sha256sum", *sorted(contents)], cwd=tmp_path, capture_output=True, check=True
    ).stdout
    files = {
        name: FileDigest(hashlib.sha256(content).hexdigest(), len(content))
        for name, content in contents.items()
    }
    assert replace(MANIFEST, files=files).digest == hashlib.sha256(printed).hexdigest()


Edit = Callable[[dict[str, Any]], object]


@pytest.mark.parametrize(
    ("edit", "complaint"),
    [
        (lambda d: d.pop("sequence"), "manifest has no sequence"),
        (lambda d: d.update(extra=1), "manifest has unknown fields: extra"),
        (lambda d: d.update(format=2), "format is 2; this version reads 1"),
        (lambda d: d.update(sequence=-1), "sequence is no whole number"),
        (lambda d: d.update(sequence=1.5), "sequence is no whole number"),
        (lambda d: d.update(sequence=True), "sequence is no whole number"),
        (lambda d: d.update(snapshot_id=""), "snapshot_id is no text"),
        (lambda d: d.update(type="TREE"), "type is none of FLAT, HNSW, IVF"),
        (lambda d: d.update(recall=1.01), "recall is no number from 0 to 1"),
        (lambda d: d.update(recall="1"), "recall is no number"),
        (lambda d: d.update(search_time_s=float("nan")), "search_time_s is no number"),
        (lambda d: d.update(parameters=[]), "parameters is no object"),
        (lambda d: d.update(parameters={"m": "32"}), "m is no whole number"),
        (lambda d: d.update(create_time="yesterday"), "create_time is no time"),
        (lambda d: d.update(create_time="2026-01-01T00:00:00"), "create_time is not in UTC"),
        (lambda d: d["files"].update({"../a": d["files"]["b.npz"]}), "'../a' is no file name"),
        (lambda d: d["files"].update({"/etc/passwd": d["files"]["b.npz"]}), "is no file name"),
        (lambda d: d["files"]["b.npz"].update(sha256="F" * 64), "sha256 of b.npz is no SHA-256"),
        (lambda d: d["files"]["b.npz"].update(mode=0), "b.npz has unknown fields: mode"),
    ],
)
def test_what_is_no_manifest_is_refused(edit: Edit, complaint: str) -> None:
    document = json.loads(MANIFEST.to_json())
    edit(document)
    with pytest.raises(ManifestError) as refused:
        Manifest.from_json(json.dumps(document))
    assert complaint in str(refused.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", b"\xff"])
def test_what_is_no_document_is_refused(text: str | bytes) -> None:
    with pytest.raises(ManifestError):
        Manifest.from_json(text)
