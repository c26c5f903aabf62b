"""What the check found of versions, kept on disk: a version never changes, so a restart need not check it again."""

from __future__ import annotations

import importlib.metadata
import os
import tempfile
from pathlib import Path
from typing import Final

from trunkline_speech.facts import Facts

REVISION: Final = 1
"""Of the check. A stricter one makes every version be checked anew."""


class Verdicts:
    """The facts of versions that were found good, by digest. Replicas may share the directory.

    Args:
        directory: made when it is first needed.
        engine: what ran them; another one checks again. The installed OpenVINO GenAI unless given.
    """

    def __init__(self, directory: Path, engine: str | None = None) -> None:
        self._directory = directory
        self._engine = engine or importlib.metadata.version("openvino-genai")

    def find(self, digest: str) -> Facts | None:
        """What was found; None when nothing is kept, or nothing that can be read."""
        try:
            return Facts.from_json(self._file(digest).read_text(encoding="utf-8"))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def keep(self, digest: str, facts: Facts) -> None:
        """Keeps what was found.

        Raises:
            OSError: it cannot be written.
        """
        self._directory.mkdir(parents=True, exist_ok=True)
        # In place as a whole or not at all: another replica may read it at any moment.
        handle, unfinished = tempfile.mkstemp(dir=self._directory)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(facts.to_json())
        Path(unfinished).replace(self._file(digest))

    def _file(self, digest: str) -> Path:
        return self._directory / f"{digest}-{self._engine}-{REVISION}.json"
