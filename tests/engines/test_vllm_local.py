"""vLLM in process, in the environment that has it."""

from __future__ import annotations

import json
import os
import subprocess
import sysconfig
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROGRAM = Path(__file__).with_name("vllm_in_process.py")
PYTHON = ROOT / ".engines" / "vllm" / "bin" / "python"
MODEL = ROOT / "models" / "phrase-translator" / "checkpoint"
BOUND_S = 900.0


def test_vllm_in_process_translates_and_comes_back_after_its_engine_was_killed(tmp_path: Path) -> None:
    settings = {
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
    }
    run = subprocess.run(
        [PYTHON, PROGRAM, sysconfig.get_path("purelib"), MODEL],
        cwd=tmp_path,
        env=os.environ | settings,
        capture_output=True,
        text=True,
        timeout=BOUND_S,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-4000:]
    told = json.loads(run.stdout.splitlines()[-1])
    text, reason, prompt_tokens, completion_tokens = told.pop("sentence")
    assert text
    assert reason == "stop"
    assert prompt_tokens > 0
    assert completion_tokens > 0
    assert told.pop("phrase").count("\ue000") == 1
    assert told == {
        "starting": "vLLM is starting: wait",
        "identity": [f"engines/vllm/{MODEL.name}", "CPU"],
        "cut": ["length", 2],
        "too long": True,
        "after cancels": text,
        "killed": "vLLM failed (EngineDeadError): see its log",
        "back": text,
    }
