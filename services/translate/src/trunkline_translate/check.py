"""Whether a model may be loaded: `python -m trunkline_translate.check DIRECTORY`, a process of its own.

See `trunkline_modelstore.trial`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from trunkline_modelstore import trial
from trunkline_modelstore.trial import Refused
from trunkline_translate import model_files
from trunkline_translate.facts import Facts

REVISION: Final = 1
"""Of the check. A stricter one makes every version be checked anew."""
_OUTPUTS: Final = {
    "openvino_model": "logits",
    "openvino_tokenizer": "input_ids",
    "openvino_detokenizer": "string_output",
}


def run(directory: Path, timeout_s: float = trial.TIMEOUT_S) -> Facts:
    """Checks a model in a process of its own. Blocks.

    Raises:
        Refused: it can never be served.
        RuntimeError: the check could not be brought to an end; another time it may.
    """
    return Facts.from_json(trial.run(__spec__.name, directory, timeout_s).facts)


def main(directory: Path) -> int:
    """Checks a model and says on standard output what it found."""
    try:
        facts = model_files.read(directory)
        _graphs(directory, facts)
        _translate(directory, facts)
    except Refused as refusal:
        trial.say_refused(str(refusal))
    else:
        trial.say_facts(facts.to_json())
    return 0


def _graphs(directory: Path, facts: Facts) -> None:
    """That each graph can be read and is the one its name says, and that the model is over the vocabulary."""
    import openvino
    import openvino_tokenizers  # noqa: F401  (teaches every Core after it the tokenizers' operations)

    core = openvino.Core()
    for graph, output in _OUTPUTS.items():
        try:
            shape = core.read_model(directory / f"{graph}.xml").output(output).get_partial_shape()
        except RuntimeError as error:
            raise Refused(f"{graph}.xml and its .bin are no graph with an output {output}") from error
        if graph == "openvino_model" and shape[-1].is_static and shape[-1] != facts.vocabulary:
            raise Refused(f"the model tells {shape[-1]} tokens apart; config.json has {facts.vocabulary}")


def _translate(directory: Path, facts: Facts) -> None:
    """Translates something in every direction, and a prompt as long as may be."""
    from trunkline_translate.genai_pipeline import GenaiPipeline
    from trunkline_translate.genai_trial import TrialFailed, prove

    try:
        pipeline = GenaiPipeline(directory, "CPU", facts, sequences=4, threads=1, cache_mb=64)
        prove(pipeline, directory, facts)
    except (RuntimeError, TrialFailed) as error:
        raise Refused(f"it does not translate: {trial.first_line(error)}") from error


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
