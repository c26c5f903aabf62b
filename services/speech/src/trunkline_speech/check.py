"""Whether a model may be loaded: `python -m trunkline_speech.check DIRECTORY`, a process of its own.

See `trunkline_modelstore.trial`. Word times where a vocabulary has no time stamps can end the process, so they come
last: what is sure by then counts.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from trunkline_modelstore import trial
from trunkline_modelstore.trial import Refused
from trunkline_speech import model_files
from trunkline_speech.facts import Facts
from trunkline_speech.transcript import RATE_HZ

REVISION: Final = 1
"""Of the check. A stricter one makes every version be checked anew."""
_LOGITS: Final = "logits"
_OUTPUTS: Final = {
    "openvino_encoder_model": "last_hidden_state",
    "openvino_decoder_model": _LOGITS,
    "openvino_tokenizer": "input_ids",
    "openvino_detokenizer": "string_output",
}


def run(directory: Path, timeout_s: float = trial.TIMEOUT_S) -> Facts:
    """Checks a model in a process of its own. Blocks.

    Raises:
        Refused: it can never be served.
        RuntimeError: the check could not be brought to an end; another time it may.
    """
    return judge(trial.run(__spec__.name, directory, timeout_s))


def judge(result: trial.Result) -> Facts:
    """What the end of a check means. A crash after the first facts is one over word times."""
    facts = Facts.from_json(result.facts)
    if result.crash:
        return facts.without_word_times(f"asking for them ends the process ({result.crash})")
    return facts


def main(directory: Path) -> int:
    """Checks a model and says on standard output what it found."""
    try:
        facts = model_files.read(directory)
        _graphs(directory, facts)
        plain = replace(facts, word_times=False)
        _hear(directory, plain)
        trial.say_facts(plain.to_json())
        if facts.word_times:
            facts = _timed(directory, facts)
            trial.say_facts(facts.to_json())
    except Refused as refusal:
        trial.say_refused(str(refusal))
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
        raise Refused(f"it does not transcribe{asked}: {trial.first_line(error)}") from error


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
