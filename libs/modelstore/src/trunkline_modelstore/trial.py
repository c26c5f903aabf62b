"""Trials: a model is loaded and used in a process of its own first, since a broken one can end the process.

Such a process is `python -m {module} DIRECTORY`. It writes a line of JSON after each step: `refused` and why, or the
`facts` that are sure by then.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

TIMEOUT_S: Final = 120.0
_OWN_DOING: Final = {
    signal.SIGSEGV,
    signal.SIGABRT,
    signal.SIGBUS,
    signal.SIGFPE,
    signal.SIGILL,
}
"""Signals that a process gets for what it did. Others come from outside, such as SIGKILL when memory is short."""


class Refused(Exception):
    """The files are no model that can be served. The text says why."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a trial found of a model that is not refused."""

    facts: str
    """The last it said."""
    crash: str = ""
    """Signal that ended it after that, such as SIGSEGV; empty when it came to its end."""


def run(module: str, directory: Path, timeout_s: float = TIMEOUT_S) -> Result:
    """Tries a model. Blocks.

    Args:
        module: what tries it.
        directory: the model's files.
        timeout_s: longest that it may take.

    Raises:
        Refused: it can never be served.
        RuntimeError: the trial could not be brought to an end; another time it may.
    """
    command = [sys.executable, "-m", module, str(directory)]
    try:
        done = subprocess.run(  # noqa: S603 - ourselves, no shell
            command, capture_output=True, timeout=timeout_s, text=True
        )
    except subprocess.TimeoutExpired as late:
        raise RuntimeError(f"the check took longer than {timeout_s:g} s") from late
    return judge(done.returncode, done.stdout, done.stderr)


def judge(code: int, output: str, log: str) -> Result:
    """What the end of a trial means.

    Args:
        code: its exit status; negative for the signal that ended it.
        output: what it said.
        log: what it said on standard error.

    Raises:
        Refused, RuntimeError: as `run`.
    """
    verdict = _last(output)
    if "refused" in verdict:
        raise Refused(verdict["refused"])
    crashed = -code in _OWN_DOING
    if code and not crashed:
        raise RuntimeError(f"the check ended with {code}: {log.strip()[-500:]}")
    crash = signal.Signals(-code).name if crashed else ""
    if "facts" not in verdict:
        raise Refused(f"loading it ends the process ({crash or 'without a word'})")
    return Result(verdict["facts"], crash)


def say_facts(facts: str) -> None:
    """Says in a trial what is sure by now."""
    _say({"facts": facts})


def say_refused(why: str) -> None:
    """Says in a trial that the model can never be served."""
    _say({"refused": why})


def first_line(error: Exception) -> str:
    """What OpenVINO says, without where in its sources."""
    lines = [line for line in str(error).splitlines() if line.strip() and "/src/" not in line]
    return lines[0].strip() if lines else type(error).__name__


def _say(verdict: dict[str, str]) -> None:
    sys.stdout.write(json.dumps(verdict) + "\n")
    sys.stdout.flush()


def _last(output: str) -> dict[str, Any]:
    """The last whole line of those that are verdicts: the engine may write some of its own."""
    for line in reversed(output.splitlines()):
        if line.startswith("{") and line.endswith("}"):
            return dict(json.loads(line))
    return {}
