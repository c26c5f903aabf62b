"""Whether a model may be loaded: `python -m trunkline_speech.check DIRECTORY`, a process of its own.

A broken graph, or word times where a vocabulary has no time stamps, can end the process that loads it. Let that be
this one. It writes a line of JSON after each step: `refused` and why, or the `facts` that are sure by then.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from trunkline_speech import model_files
from trunkline_speech.facts import Facts
from trunkline_speech.model_files import Refused
from trunkline_speech.transcript import RATE_HZ

TIMEOUT_S: Final = 120.0
_LOGITS: Final = "logits"
_OUTPUTS: Final = {
    "openvino_encoder_model": "last_hidden_state",
    "openvino_decoder_model": _LOGITS,
    "openvino_tokenizer": "input_ids",
    "openvino_detokenizer": "string_output",
}
_OWN_DOING: Final = {
    signal.SIGSEGV,
    signal.SIGABRT,
    signal.SIGBUS,
    signal.SIGFPE,
    signal.SIGILL,
}
"""Signals that a process gets for what it did. Others come from outside, such as SIGKILL when memory is short."""


def run(directory: Path, timeout_s: float = TIMEOUT_S) -> Facts:
    """Checks a model in a process of its own. Blocks.

    Raises:
        Refused: it can never be served.
        RuntimeError: the check could not be brought to an end; another time it may.
    """
    command = [sys.executable, "-m", __spec__.name, str(directory)]
    try:
        done = subprocess.run(  # noqa: S603 - ourselves, no shell
            command, capture_output=True, timeout=timeout_s, text=True
        )
    except subprocess.TimeoutExpired as late:
        raise RuntimeError(f"the check took longer than {timeout_s:g} s") from late
    return judge(done.returncode, done.stdout, done.stderr)


def judge(code: int, output: str, log: str) -> Facts:
    """What the end of a check means.

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
    if "facts" not in verdict:
        how = signal.Signals(-code).name if crashed else "without a word"
        raise Refused(f"loading it ends the process ({how})")
    facts = Facts.from_json(verdict["facts"])
    if crashed:
        return facts.without_word_times(f"asking for them ends the process ({signal.Signals(-code).name})")
    return facts


def main(directory: Path) -> int:
    """Checks a model and says on standard output what it found."""
    try:
        facts = model_files.read(directory)
        _graphs(directory, facts)
        plain = replace(facts, word_times=False)
        _hear(directory, plain)
        _say({"facts": plain.to_json()})
        if facts.word_times:
            facts = _timed(directory, facts)
            _say({"facts": facts.to_json()})
    except Refused as refusal:
        _say({"refused": str(refusal)})
    return 0


def _timed(directory: Path, facts: Facts) -> Facts:
    try:
        _hear(directory, facts)
    except Refused as refusal:
        return facts.without_word_times(str(refusal))
    return facts


def _graphs(directory: Path, facts: Facts) -> None:
    """That each graph can be read and is the one its name says, and that the decoder is over the vocabulary."""
    import openvino
    import openvino_tokenizers  # noqa: F401  (teaches every Core after it the tokenizers' operations)

    core = openvino.Core()
    for graph, output in _OUTPUTS.items():
        try:
            shape = core.read_model(directory / f"{graph}.xml").output(output).get_partial_shape()
        except RuntimeError as error:
            raise Refused(f"{graph}.xml and its .bin are no graph with an output {output}") from error
        if output == _LOGITS and shape[-1].is_static and shape[-1] != facts.vocabulary:
            raise Refused(f"the decoder tells {shape[-1]} tokens apart; config.json has {facts.vocabulary}")


def _hear(directory: Path, facts: Facts) -> None:
    """Transcribes silence, noise, and a tone as long as the window, with every language."""
    from trunkline_speech.whisper import OpenVinoPipeline, Piecework

    numbers = np.random.default_rng(0)
    noise = numbers.normal(0, 0.05, RATE_HZ).astype(np.float32)
    tone = np.sin(np.arange(facts.window) * (2 * np.pi * 220 / RATE_HZ)).astype(np.float32)
    try:
        pipeline = OpenVinoPipeline(directory, "CPU", facts, threads=1)
        for samples in (np.zeros(RATE_HZ, np.float32), noise, tone):
            pipeline.run(Piecework(samples), lambda: False)
        for language in facts.languages:
            pipeline.run(Piecework(noise, language, facts.tasks[-1], ("hint",)), lambda: False)
    except RuntimeError as error:
        asked = " with word times" if facts.word_times else ""
        raise Refused(f"it does not transcribe{asked}: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    """What OpenVINO says, without where in its sources."""
    lines = [line for line in str(error).splitlines() if line.strip() and "/src/" not in line]
    return lines[0].strip() if lines else type(error).__name__


def _say(verdict: Mapping[str, str]) -> None:
    sys.stdout.write(json.dumps(verdict) + "\n")
    sys.stdout.flush()


def _last(output: str) -> dict[str, Any]:
    """The last whole line of those that are verdicts: the engine may write some of its own."""
    for line in reversed(output.splitlines()):
        if line.startswith("{") and line.endswith("}"):
            return dict(json.loads(line))
    return {}


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
