"""Whisper models out of a version's files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from trunkline_modelstore import LocalVersion, refused
from trunkline_modelstore.verdicts import Verdicts, checked
from trunkline_speech import check
from trunkline_speech.facts import Facts
from trunkline_speech.meters import Meters
from trunkline_speech.model_files import SIGNATURE
from trunkline_speech.pipelines import Chain, Pipeline, Pool
from trunkline_speech.whisper import SILENCE, Piecework, Transcript, WhisperModel, opener

MEMORY_FACTOR: Final = 6
"""Memory of a pipeline that has heard something, as a multiple of its files: INT8 weights are kept unpacked,
beside graphs and buffers."""

Opens = Callable[[Path, Facts], Callable[[str], Pipeline[Piecework, Transcript]]]


class WhisperLoader:
    """Makes models out of files; refuses those that cannot be served. See modelstore's `Loader`.

    Args:
        devices: to try for each model, in order.
        pipelines: of each model.
        queue_limit: how much may wait for each model.
        meters: what is told of them.
        threads: of a pipeline on a CPU; 0 leaves it to OpenVINO.
        verdicts: keeps what the check found; without it every load checks.
        opens: of a directory with a model and what is known of it, what opens its pipelines.
    """

    def __init__(
        self,
        devices: Sequence[str],
        pipelines: int,
        queue_limit: int,
        meters: Meters,
        *,
        threads: int = 1,
        verdicts: Verdicts[Facts] | None = None,
        opens: Opens | None = None,
    ) -> None:
        self._devices = tuple(devices)
        self._pipelines = pipelines
        self._queue_limit = queue_limit
        self._meters = meters
        self._verdicts = verdicts
        self._opens = opens or (lambda directory, facts: opener(directory, facts, threads))

    def load(self, version: LocalVersion) -> WhisperModel:
        """See `Loader.load`."""
        if SIGNATURE not in version.files:
            raise refused(version.name, f"it has no {SIGNATURE}")
        facts = checked(version, check.run, self._verdicts)
        chain = Chain(
            version.name, self._devices, self._opens(version.directory, facts), SILENCE, self._pipelines
        )
        chain.open()
        pool = Pool(chain, self._pipelines, self._queue_limit, self._meters.of(version.name))
        size_bytes = facts.files_bytes * MEMORY_FACTOR * self._pipelines
        return WhisperModel(version.name, version.digest, facts, pool, size_bytes)

    def size_bytes(self, model: WhisperModel) -> int:
        """See `Loader.size_bytes`."""
        return model.size_bytes

    def warm(self, model: WhisperModel) -> None:
        """See `Loader.warm`."""
        model.warm()

    def unload(self, model: WhisperModel) -> None:
        """See `Loader.unload`."""
        model.close()
