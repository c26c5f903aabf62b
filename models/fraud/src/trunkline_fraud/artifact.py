"""The trained model's files, and where they lie."""

from pathlib import Path

from trunkline_artifact import CARD, EVALUATION, SIGNATURE, VIEWS, locate

MODEL = "model.onnx"
FILES = (MODEL, SIGNATURE, VIEWS, EVALUATION, CARD)


def directory() -> Path:
    """The files that ship. Raises FileNotFoundError when there are none."""
    return locate(Path(__file__).parent)
