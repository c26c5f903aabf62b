"""Voices told apart by signal processing alone: nothing is learnt before a session, and nothing downloaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular

from trunkline_speech.embedding import Distances, Vectors
from trunkline_speech.recogniser import Samples
from trunkline_speech.transcript import RATE_HZ
from trunkline_speech.voice import CEPSTRA, HOP, analyse

_FRAMES_A_SECOND: Final = RATE_HZ // HOP
_UPPER: Final = np.triu_indices(CEPSTRA)
_SECONDS, _VOICED, _OCTAVES, _MEAN, _COVARIANCE = 0, 1, 2, 3, 3 + CEPSTRA
_DIMENSION: Final = _COVARIANCE + len(_UPPER[0])

_VOICED_FROM: Final = 0.75
_RIDGE: Final = 0.02
"""Of the mean variance, added to every one: a short piece does not fill all dimensions."""
_LEAST_VARIANCE: Final = 1e-3
_LEAST_SECONDS: Final = 0.1


@dataclass(frozen=True, slots=True)
class ClassicalEmbedding:
    """A Gaussian over the cepstra of a piece, and its mean pitch.

    The means of two pieces by one person differ by what was said in them, and the less the longer they are. So their
    distance is measured in the spread of the frames themselves (Mahalanobis; pooled over all pieces at hand, which
    adapts it to the room and the microphone), and divided by what their lengths make likely, as in the
    two-covariance model (Brummer and de Villiers 2010).
    """

    threshold: float = 0.43
    pitch_weight: float = 6.0
    """What a difference of one octave counts, squared, beside the mean over the cepstra."""
    drift: float = 1.0
    """Spread between pieces by one person that no length averages out, in that of one second."""

    @property
    def name(self) -> str:
        return "classical-1"

    @property
    def dimension(self) -> int:
        return _DIMENSION

    def embed(self, pieces: Sequence[Samples]) -> Vectors:
        return np.stack([_statistics(piece) for piece in pieces]) if pieces else _none()

    def pool(self, vectors: Vectors) -> Vectors:
        """Their common Gaussian."""
        weights = vectors[:, _SECONDS].astype(np.float64)
        shares = weights / weights.sum()
        means = vectors[:, _MEAN:_COVARIANCE].astype(np.float64)
        mean = shares @ means
        apart = means - mean
        covariance = (
            np.einsum("n,nij->ij", shares, _covariances(vectors)) + (shares[:, None] * apart).T @ apart
        )
        voiced = vectors[:, _VOICED].astype(np.float64)
        octaves = voiced @ vectors[:, _OCTAVES] / voiced.sum() if voiced.any() else 0.0
        return _packed(weights.sum(), voiced.sum(), octaves, mean, covariance)

    def distances(self, left: Vectors, right: Vectors) -> Distances:
        every = np.concatenate([left, right])
        weights = every[:, _SECONDS] / every[:, _SECONDS].sum()
        within = np.einsum("n,nij->ij", weights, _covariances(every))
        within += np.eye(CEPSTRA) * (_RIDGE * np.trace(within) / CEPSTRA + _LEAST_VARIANCE)
        white = solve_triangular(np.linalg.cholesky(within), every[:, _MEAN:_COVARIANCE].T, lower=True).T
        ours, theirs = white[: len(left)], white[len(left) :]
        shape = np.mean((ours[:, None] - theirs[None]) ** 2, axis=2)
        heard = np.minimum(left[:, None, _VOICED], right[None, :, _VOICED]) > 0
        octaves = (left[:, None, _OCTAVES] - right[None, :, _OCTAVES]) * heard
        expected = self.drift + 1 / left[:, None, _SECONDS] + 1 / right[None, :, _SECONDS]
        return np.asarray(np.sqrt((shape + self.pitch_weight / CEPSTRA * octaves**2) / expected))


def _statistics(piece: Samples) -> Vectors:
    frames = analyse(piece)
    cepstra = frames.cepstra[frames.loud]
    voiced = frames.octaves[frames.loud & (frames.voicing > _VOICED_FROM)]
    mean = cepstra.mean(axis=0)
    apart = cepstra - mean
    return _packed(
        max(len(cepstra) / _FRAMES_A_SECOND, _LEAST_SECONDS),
        len(voiced) / _FRAMES_A_SECOND,
        # Halved and doubled pitch is common in single frames, and no median's business.
        float(np.median(voiced)) if len(voiced) else 0.0,
        mean,
        apart.T @ apart / len(cepstra),
    )


def _packed(
    seconds: float, voiced: float, octaves: float, mean: NDArray[np.float64], covariance: NDArray[np.float64]
) -> Vectors:
    return np.concatenate([[seconds, voiced, octaves], mean, covariance[_UPPER]]).astype(np.float32)


def _covariances(vectors: Vectors) -> NDArray[np.float64]:
    """[pieces, CEPSTRA, CEPSTRA]."""
    square = np.zeros((len(vectors), CEPSTRA, CEPSTRA))
    square[:, _UPPER[0], _UPPER[1]] = vectors[:, _COVARIANCE:]
    square[:, _UPPER[1], _UPPER[0]] = vectors[:, _COVARIANCE:]
    return square


def _none() -> Vectors:
    return np.empty((0, _DIMENSION), np.float32)
