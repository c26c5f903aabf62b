from __future__ import annotations

import gzip
import io
import json
import pickle
import zipfile
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from registry_parts import ONNX, Registry

from trunkline_hop.errors import NotAllowed
from trunkline_registry.formats import Format
from trunkline_registry.pickles import Refused, is_pickle, refuse_pickle


class Evil:
    def __reduce__(self):
        return (print, ("ran",))


def zipped(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def safetensors(tensor_bytes: int, actual: int | None = None) -> bytes:
    header = json.dumps({"w": {"dtype": "U8", "shape": [tensor_bytes], "data_offsets": [0, tensor_bytes]}})
    body = bytes(tensor_bytes if actual is None else actual)
    return len(header).to_bytes(8, "little") + header.encode() + body


PICKLES = {
    **{f"protocol {n}": pickle.dumps(Evil(), protocol=n) for n in range(6)},
    "data only": pickle.dumps({"w": [1.0] * 10}, protocol=4),
    "large": pickle.dumps([bytes(200_000)], protocol=4),
    "broken behind its call": pickle.dumps(Evil(), protocol=2)[:-1] + b"\xff" * 100,
    "gzipped": gzip.compress(pickle.dumps(Evil())),
    "deflated": zlib.compress(pickle.dumps(Evil())),
    "torch": zipped(**{"archive/data.pkl": pickle.dumps(Evil()), "archive/data/0": bytes(64)}),
    "zip under another name": zipped(weights=pickle.dumps(Evil(), protocol=0)),
    "zip in a zip": zipped(inner=zipped(a=b"")),
    "broken zip": zipped(a=b"abc")[:-10],
    "objects in NumPy": b"\x93NUMPY\x01\x00\x76\x00{'descr': '|O', 'fortran_order': False, 'shape': (1,), }"
    + pickle.dumps([Evil()]),
}


@pytest.mark.parametrize("content", PICKLES.values(), ids=PICKLES)
async def test_a_pickle_is_refused_whatever_it_is_said_to_be(registry: Registry, content: bytes) -> None:
    await registry.model()
    for path in ("model.onnx", "weights.bin"):
        files = [("model.onnx", await registry.store(ONNX)), ("weights.bin", await registry.store(ONNX))]
        files = [(p, await registry.store(content) if p == path else sha) for p, sha in files]
        with pytest.raises(NotAllowed) as refused:
            await registry.version(files=files)
        assert (refused.value.reason, refused.value.subject) == ("MODEL_REFUSED", path)


GOOD = {
    "onnx": (Format.ONNX, {"model.onnx": ONNX, "signature.json": b"{}"}),
    "openvino": (
        Format.OPENVINO_IR,
        {"model.xml": b'<?xml version="1.0"?>\n<net name="m" version="11">', "model.bin": bytes(16)},
    ),
    "safetensors": (Format.SAFETENSORS, {"model.safetensors": safetensors(8)}),
    "lightgbm": (Format.LIGHTGBM_TEXT, {"model.txt": b"tree\nversion=v4\nnum_class=1\n"}),
    "zip of data": (Format.ONNX, {"model.onnx": ONNX, "data.npz": zipped(a=b"plain")}),
}


@pytest.mark.parametrize(("kind", "files"), GOOD.values(), ids=GOOD)
async def test_files_that_are_what_their_format_says_are_taken(
    registry: Registry, kind: Format, files: dict[str, bytes]
) -> None:
    await registry.model()
    stored = [(path, await registry.store(content)) for path, content in files.items()]
    assert (await registry.version(format=kind, files=stored)).format is kind


BAD = {
    "onnx cut short": (Format.ONNX, "model.onnx", ONNX[:-1]),
    "text as onnx": (Format.ONNX, "model.onnx", b"hello"),
    "empty onnx": (Format.ONNX, "model.onnx", b""),
    "no onnx": (Format.ONNX, "notes.txt", b"hello"),
    "xml without weights": (Format.OPENVINO_IR, "model.xml", b"<net>"),
    "safetensors cut short": (Format.SAFETENSORS, "m.safetensors", safetensors(8, 7)),
    "safetensors with a tail": (Format.SAFETENSORS, "m.safetensors", safetensors(8, 9)),
    "safetensors without a header": (Format.SAFETENSORS, "m.safetensors", b"\xff" * 20),
    "safetensors header of another kind": (Format.SAFETENSORS, "m.safetensors", b"\x02" + bytes(7) + b"[]"),
    "text as lightgbm": (Format.LIGHTGBM_TEXT, "model.txt", b"hello"),
}


@pytest.mark.parametrize(("kind", "path", "content"), BAD.values(), ids=BAD)
async def test_files_that_are_not_what_their_format_says_are_refused(
    registry: Registry, kind: Format, path: str, content: bytes
) -> None:
    await registry.model()
    with pytest.raises(NotAllowed, match="MODEL_REFUSED"):
        await registry.version(format=kind, files=[(path, await registry.store(content))])


@given(st.recursive(st.none() | st.floats() | st.text() | st.binary(), st.lists), st.integers(2, 5))
def test_every_marked_pickle_is_known(value: object, protocol: int) -> None:
    assert is_pickle(pickle.dumps(value, protocol=protocol))


@given(st.text(alphabet=st.characters(codec="ascii")))
def test_text_is_taken_for_a_pickle_only_if_it_could_call_something(text: str) -> None:
    try:
        refuse_pickle("notes.txt", io.BytesIO(text.encode()))
    except Refused:
        assert any(mark in text for mark in "ciR")
