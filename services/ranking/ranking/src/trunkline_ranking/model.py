"""A version of any task, loaded: what `task` in its signature says decides what it is."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import TypeVar

from trunkline_hop.errors import NotAllowed
from trunkline_modelstore import Lease, LocalVersion, refused
from trunkline_ranking import (
    fraud_model,
    fraud_signature,
    recommender_model,
    recommender_signature,
    signature,
)
from trunkline_ranking.fraud_model import FraudModel
from trunkline_ranking.recommender_model import RecommenderModel
from trunkline_ranking.signature import Fields, SignatureError

SIGNATURE = "signature.json"

Model = FraudModel | RecommenderModel
M = TypeVar("M", FraudModel, RecommenderModel)

_LOADS: Mapping[str, tuple[Collection[str], Callable[[LocalVersion, Fields], Model]]] = {
    fraud_signature.TASK: (fraud_model.FILES, fraud_model.load),
    recommender_signature.TASK: (recommender_model.FILES, recommender_model.load),
}
_TASKS: Mapping[type[Model], str] = {
    FraudModel: fraud_signature.TASK,
    RecommenderModel: recommender_signature.TASK,
}


class ModelLoader:
    """Makes models out of files; refuses what does not fit together."""

    def load(self, version: LocalVersion) -> Model:
        """See `Loader.load`."""
        _require(version, (SIGNATURE,))
        try:
            fields = signature.read(version.files[SIGNATURE].read_bytes())
            task = fields[signature.TASK]
            if task not in _LOADS:
                raise SignatureError(f"task is {task!r}; ranking knows {', '.join(_LOADS)}")
            files, load = _LOADS[task]
            _require(version, files)
            return load(version, fields)
        except SignatureError as error:
            raise refused(version.name, str(error)) from error

    def warm(self, model: Model) -> None:
        """See `Loader.warm`."""
        model.warm()

    def size_bytes(self, model: Model) -> int:
        """See `Loader.size_bytes`."""
        return model.size_bytes

    def unload(self, model: Model) -> None:
        """Nothing to do: ONNX Runtime frees a session with its last reference."""


def _require(version: LocalVersion, files: Collection[str]) -> None:
    if missing := set(files) - set(version.files):
        raise refused(version.name, f"it has no {' and no '.join(sorted(missing))}")


def of_task(lease: Lease[Model], kind: type[M]) -> M:
    """The leased model, when it is of this kind.

    Raises:
        NotAllowed: MODEL_TASK: it is for another task.
    """
    model = lease.model
    if isinstance(model, kind):
        return model
    needed, given = _TASKS[kind], _TASKS[type(model)]
    raise NotAllowed(
        "MODEL_TASK",
        f"{lease.version} is a model of task {given}; this method needs one of task {needed}: "
        "name such a model, or none for the default",
        subject=lease.version,
        metadata={"version": lease.version, "task": given, "expected": needed},
    )
