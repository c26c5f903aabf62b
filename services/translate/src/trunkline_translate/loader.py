"""Translation models out of a version's files."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Sequence
from pathlib import Path

from trunkline_hop.errors import Unavailable
from trunkline_modelstore import LocalVersion, refused
from trunkline_modelstore.verdicts import Verdicts, checked
from trunkline_translate import check
from trunkline_translate.facts import Facts
from trunkline_translate.genai_devices import Devices, NoDevice
from trunkline_translate.genai_driver import Driver
from trunkline_translate.genai_memory import pipeline_bytes
from trunkline_translate.genai_messages import Open
from trunkline_translate.genai_model import GenaiModel
from trunkline_translate.genai_process import Opens, Process
from trunkline_translate.model_files import SIGNATURE


def verdicts(directory: Path) -> Verdicts[Facts]:
    """What checks found, kept in a directory that replicas may share."""
    engine = f"genai-{importlib.metadata.version('openvino-genai')}-{check.REVISION}"
    return Verdicts(directory, engine, Facts.from_json)


class TranslatorLoader:
    """Makes models out of files; refuses those that cannot be served. See modelstore's `Loader`.

    Args:
        devices: to try for each model, in order.
        sequences: sentences that a model translates at once.
        queue_limit: how many may wait for each model.
        threads: of a pipeline on a CPU; 0 leaves it to OpenVINO.
        cache_mb: most memory of a model's KV cache.
        verdicts: keeps what the check found; without it every load checks.
        opens: of a directory with a model and what is known of it, what opens its pipelines.
    """

    def __init__(
        self,
        devices: Sequence[str],
        *,
        sequences: int = 16,
        queue_limit: int = 64,
        threads: int = 0,
        cache_mb: int = 256,
        verdicts: Verdicts[Facts] | None = None,
        opens: Callable[[Path, Facts], Opens] | None = None,
    ) -> None:
        self._devices = tuple(devices)
        self._sequences = sequences
        self._queue_limit = queue_limit
        self._threads = threads
        self._cache_mb = cache_mb
        self._verdicts = verdicts
        self._opens = opens or self._opener

    def load(self, version: LocalVersion) -> GenaiModel:
        """See `Loader.load`. What it opens has translated: every pipeline is tried before it is used."""
        if SIGNATURE not in version.files:
            raise refused(version.name, f"it has no {SIGNATURE}")
        facts = checked(version, check.run, self._verdicts)
        devices = Devices(version.name, self._devices, self._opens(version.directory, facts))
        try:
            driver = Driver(version.name, devices, places=self._sequences, queue_limit=self._queue_limit)
        except NoDevice as error:
            raise Unavailable(
                "DEVICE_LOST", f"{version.name}: {error}", metadata={"model": version.name}
            ) from error
        size = pipeline_bytes(facts, self._sequences, self._cache_mb)
        return GenaiModel(version.name, version.digest, version.directory, facts, driver, size)

    def size_bytes(self, model: GenaiModel) -> int:
        """See `Loader.size_bytes`."""
        return model.size_bytes

    def warm(self, model: GenaiModel) -> None:
        """See `Loader.warm`: opening it did."""

    def unload(self, model: GenaiModel) -> None:
        """See `Loader.unload`."""
        model.close()

    def _opener(self, directory: Path, facts: Facts) -> Opens:
        def opens(device: str) -> Process:
            return Process(
                Open(
                    str(directory.resolve()),
                    device,
                    facts.to_json(),
                    sequences=self._sequences,
                    threads=self._threads,
                    cache_mb=self._cache_mb,
                )
            )

        return opens
