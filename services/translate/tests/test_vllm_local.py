"""vLLM in process, where it is not installed. Where it is, `make test-engines` runs it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from trunkline_hop.settings import CannotStart
from trunkline_translate.language import Direction
from trunkline_translate.prompts import Prompt, Style
from trunkline_translate.vllm_local import VllmEngine


def test_without_the_extra_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(CannotStart, match=r"trunkline-translate\[vllm\]"):
        VllmEngine(tmp_path, [Direction("en", "es")], Prompt(Style.CODES))
