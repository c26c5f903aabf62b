"""Voices told apart by a neural network that the registry holds, run by sherpa-onnx (the extra `sherpa`)."""

from __future__ import annotations

import importlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Final

import numpy as np
import onnxruntime

from trunkline_modelstore import LocalVersion, refused
from trunkline_speech.embedding import Distances, Vectors
from trunkline_speech.recogniser import Samples
from trunkline_speech.transcript import RATE_HZ

TASK: Final = "embed_speaker"
GRAPH: Final = "model.onnx"
SIGNATURE: Final = "signature.json"
_FRAMEWORKS: Final = ("wespeaker", "3d-speaker")
_METADATA: Final = ("framework", "language", "output_dim", "sample_rate", "normalize_samples")
_NORMALISED: Final = ("", "global-mean")
_MELS: Final = 80
_LEAST: Final = RATE_HZ // 2
"""Shorter pieces are repeated up to this: networks that pool over time have seen none so short."""


@dataclass(frozen=True, slots=True)
class SherpaEmbedding:
    """The cosine between what a network makes of two pieces.

    A vector points where the network says, and is as long as its piece in seconds: a sum of vectors is then their
    mean, weighted by how much speech each stands for.
    """

    name: str
    dimension: int
    threshold: float
    """In 1 - cosine."""
    size_bytes: int
    extractor: Any
    """Of sherpa-onnx, which lets go of the GIL and may run in several threads at once."""

    def embed(self, pieces: Sequence[Samples]) -> Vectors:
        vectors = np.zeros((len(pieces), self.dimension), np.float32)
        for row, piece in enumerate(pieces):
            if not len(piece):
                continue
            stream = self.extractor.create_stream()
            stream.accept_waveform(RATE_HZ, piece if len(piece) >= _LEAST else np.resize(piece, _LEAST))
            stream.input_finished()
            direction = np.asarray(self.extractor.compute(stream), np.float32)
            length = float(np.linalg.norm(direction))
            # Digital silence may have no direction at all, and is then as far from one voice as from the next.
            if np.isfinite(length) and length > 0:
                vectors[row] = direction * (len(piece) / RATE_HZ / length)
        return vectors

    def pool(self, vectors: Vectors) -> Vectors:
        return np.asarray(vectors.sum(axis=0), np.float32)

    def distances(self, left: Vectors, right: Vectors) -> Distances:
        ours, theirs = (_unit(vectors.astype(np.float64)) for vectors in (left, right))
        return np.maximum(1.0 - ours @ theirs.T, 0.0)


class SpeakerLoader:
    """Makes embeddings out of files: the modelstore's `Loader`.

    A version has `model.onnx` with the metadata that sherpa-onnx asks for, and a `signature.json` of the task
    `embed_speaker` with the `threshold` (of 1 - cosine) above which two voices are two people.
    """

    def load(self, version: LocalVersion) -> SherpaEmbedding:
        """Loads a version.

        Raises:
            NotAllowed: MODEL_REFUSED: the version is no such model, or sherpa-onnx is not installed.
        """
        for name in (SIGNATURE, GRAPH):
            if name not in version.files:
                raise refused(version.name, f"it has no {name}")
        threshold = _threshold(version)
        dimension = _checked(version)
        sherpa = _sherpa(version)
        graph = version.files[GRAPH]
        extractor = sherpa.SpeakerEmbeddingExtractor(
            sherpa.SpeakerEmbeddingExtractorConfig(str(graph), num_threads=1)
        )
        return SherpaEmbedding(
            f"{version.name}@{version.digest}", dimension, threshold, graph.stat().st_size, extractor
        )

    def size_bytes(self, model: SherpaEmbedding) -> int:
        """Bytes of the graph, which is nearly all weights."""
        return model.size_bytes

    def warm(self, model: SherpaEmbedding) -> None:
        """Embeds a second of noise."""
        noise = np.random.default_rng(0).uniform(-0.1, 0.1, RATE_HZ)
        model.embed([noise.astype(np.float32)])

    def unload(self, model: SherpaEmbedding) -> None:
        """Nothing to do: the last reference frees it."""


def _threshold(version: LocalVersion) -> float:
    try:
        told = json.loads(version.files[SIGNATURE].read_bytes())
        task, threshold = told["task"], told["threshold"]
    except (ValueError, TypeError, KeyError) as error:
        raise refused(version.name, f"{SIGNATURE} names no task or no threshold") from error
    if task != TASK:
        raise refused(version.name, f"its task is {task!r}, not {TASK}")
    if isinstance(threshold, bool) or not isinstance(threshold, int | float) or not 0 < threshold < 2:
        raise refused(version.name, f"its threshold is {threshold!r}, not between 0 and 2")
    return float(threshold)


def _checked(version: LocalVersion) -> int:
    """The length of its vectors. sherpa-onnx itself ends the process over a graph that is not as it expects."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(
            version.files[GRAPH].read_bytes(), options, providers=["CPUExecutionProvider"]
        )
    # Its exceptions share no base class but this one.
    except Exception as error:
        raise refused(version.name, f"{GRAPH} is no graph that ONNX Runtime can load") from error
    told = session.get_modelmeta().custom_metadata_map
    if missing := [key for key in _METADATA if key not in told]:
        raise refused(version.name, f"its metadata lack {', '.join(missing)}")
    dimension = told["output_dim"]
    if told["framework"] not in _FRAMEWORKS:
        raise refused(version.name, f"it comes from {told['framework']}, not {' or '.join(_FRAMEWORKS)}")
    if told["sample_rate"] != str(RATE_HZ):
        raise refused(version.name, f"it hears {told['sample_rate']} samples a second, not {RATE_HZ}")
    if told.get("feature_normalize_type", "") not in _NORMALISED:
        raise refused(version.name, "its features are normalised in a way that sherpa-onnx does not know")
    if told["normalize_samples"] not in ("0", "1") or not dimension.isdecimal():
        raise refused(version.name, "its metadata are no numbers where sherpa-onnx reads numbers")
    features = np.zeros((1, 100, _MELS), np.float32)
    try:
        found = session.run(None, {session.get_inputs()[0].name: features})[0].shape
    except Exception as error:
        raise refused(version.name, f"it does not take [1, frames, {_MELS}] features") from error
    if found != (1, int(dimension)):
        raise refused(version.name, f"it answers with {list(found)}, not [1, {dimension}]")
    return int(dimension)


def _sherpa(version: LocalVersion) -> ModuleType:
    try:
        return importlib.import_module("sherpa_onnx")
    except ImportError as error:
        raise refused(
            version.name, "this server lacks sherpa-onnx: install trunkline-speech[sherpa]"
        ) from error


def _unit(vectors: Distances) -> Distances:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, np.finfo(np.float64).tiny))
