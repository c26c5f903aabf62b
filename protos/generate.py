"""Build hook: runs protoc over the contracts, so that the wheel holds stubs and the tree never does."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import grpc_tools
from grpc_tools import protoc
from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class Generate(BuildHookInterface[Any]):
    """Adds `trunkline/**/*_pb2.py`, `*_pb2_grpc.py` and their `.pyi` to the wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        contracts = Path(self.root)
        self._out = tempfile.TemporaryDirectory(prefix="trunkline-protos-")
        out = Path(self._out.name)
        wellknown = Path(grpc_tools.__file__).parent / "_proto"
        files = sorted(str(file) for file in contracts.glob("trunkline/**/*.proto"))
        outputs = [f"--{kind}_out={out}" for kind in ("python", "grpc_python", "mypy", "mypy_grpc")]
        status = protoc.main(["protoc", f"-I{contracts}", f"-I{wellknown}", *outputs, *files])
        if status != 0:
            raise RuntimeError(f"protoc failed with status {status}")
        for package in {file.parent for file in out.rglob("*.py")}:
            (package / "py.typed").touch()
        build_data["force_include"] |= {
            str(file): str(file.relative_to(out)) for file in out.rglob("*") if file.is_file()
        }

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        self._out.cleanup()
