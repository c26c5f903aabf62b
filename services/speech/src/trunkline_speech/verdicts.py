"""What the check found of versions, kept on disk."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

from trunkline_modelstore.verdicts import Verdicts
from trunkline_speech.check import REVISION
from trunkline_speech.facts import Facts


def verdicts(directory: Path) -> Verdicts[Facts]:
    """Those of a directory that replicas may share. Another OpenVINO GenAI, or another check, tries them again."""
    engine = f"{importlib.metadata.version('openvino-genai')}-{REVISION}"
    return Verdicts(directory, engine, Facts.from_json)
