"""What every recipe does the same way: the files of a trained model, and the command that trains it."""

from trunkline_artifact.command import parser
from trunkline_artifact.files import CARD, EVALUATION, SIGNATURE, SUMS, VIEWS, locate, to_json, verify, write

__all__ = [
    "CARD",
    "EVALUATION",
    "SIGNATURE",
    "SUMS",
    "VIEWS",
    "locate",
    "parser",
    "to_json",
    "verify",
    "write",
]
