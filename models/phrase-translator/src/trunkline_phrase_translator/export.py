"""The trained network as INT8 OpenVINO IR, as `openvino_genai.ContinuousBatchingPipeline` wants it.

One set of versions does this (environment.txt, environment-exporter.txt).
"""

import shutil
from collections.abc import Sequence
from pathlib import Path

import nncf
import openvino
import openvino_genai
from optimum.exporters.openvino import main_export
from tokenizers import Tokenizer

from trunkline_phrase_translator import artifact
from trunkline_phrase_translator.conversations import CONTEXT_PAIRS
from trunkline_phrase_translator.model import POSITIONS
from trunkline_phrases import LANGUAGES


def export(checkpoint: Path, place: Path) -> None:
    """Makes a version's files of a checkpoint in transformers' form: the INT8 IR, the tokenizers, the configurations.

    Files are replaced one after the other, each whole.
    """
    place.mkdir(parents=True, exist_ok=True)
    full = place / "full"
    main_export(
        str(checkpoint),
        full,
        task="text-generation-with-past",
        convert_tokenizer=True,
        local_files_only=True,
    )
    # The exporter writes these its own way; the checkpoint's are what was meant.
    for name in artifact.CHECKPOINT_FILES:
        if name in artifact.VERSION_FILES:
            shutil.copyfile(checkpoint / name, full / name)
    (full / artifact.SIGNATURE).write_text(
        artifact.to_json(artifact.signature(LANGUAGES, CONTEXT_PAIRS, POSITIONS)), encoding="utf-8"
    )
    (full / "int8").mkdir()
    compressed = full / "int8" / "openvino_model.xml"
    _compress(full / "openvino_model.xml", compressed)
    for path in (*compressed.parent.iterdir(),):
        path.replace(full / path.name)
    for name in artifact.VERSION_FILES:
        (full / name).replace(place / name)
    shutil.rmtree(full)


def check_tokens(tokenizer: Tokenizer, place: Path, texts: Sequence[str]) -> int:
    """How many texts the exported tokenizer encodes and decodes as the one that training used.

    Raises:
        ValueError: one it does not.
    """
    exported = openvino_genai.Tokenizer(str(place))
    for text in texts:
        wanted = tokenizer.encode(text).ids
        found = exported.encode(text, add_special_tokens=False).input_ids.data[0].tolist()
        if found != wanted or exported.decode(wanted, skip_special_tokens=False) != text:
            raise ValueError(f"the tokenizers differ on {text!r}")
    return len(texts)


def _compress(source: Path, target: Path) -> None:
    """Weights to eight bits, with a scale and a zero a row; what is computed stays as it was."""
    graph = openvino.Core().read_model(source)
    openvino.save_model(nncf.compress_weights(graph, mode=nncf.CompressWeightsMode.INT8_ASYM), target)
