"""Who says what, in a recording that can be looked at as a whole."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import AgglomerativeClustering

from trunkline_speech.embedding import Embedding, Vectors
from trunkline_speech.recogniser import Samples
from trunkline_speech.speakers import LEARN_S, assigned
from trunkline_speech.transcript import Word
from trunkline_speech.turns import Turn, embed, turns

_MOST_TURNS: Final = 1000
"""So many are clustered, the longest; the others join them. Distances between turns take the square of it."""
LEAST_SPEECH_S: Final = 2.0
"""Who says less in all is taken for the closest of the others."""


async def tag_recording(
    embedding: Embedding, samples: Samples, words: Sequence[Word], max_speakers: int
) -> tuple[Word, ...]:
    """The words of a recording, each with its speaker.

    Agglomerative clustering of the turns by average linkage, until the closest two clusters are further apart than
    one person's voice, and at most `max_speakers` are left. Clusters with less than LEAST_SPEECH_S of speech are nobody;
    every turn goes to the closest of the others.

    Args:
        embedding: what voices are compared by.
        samples: the recording.
        words: in order, counted from its first sample.
        max_speakers: from 1.
    """
    return await asyncio.to_thread(_tagged, embedding, samples, words, max_speakers)


def _tagged(
    embedding: Embedding, samples: Samples, words: Sequence[Word], max_speakers: int
) -> tuple[Word, ...]:
    found = turns(embedding, samples, words)
    if not found:
        return tuple(words)
    vectors = embed(embedding, samples, found)
    voices = _voices(embedding, vectors, found, max_speakers)
    nearest = np.argmin(embedding.distances(vectors, voices), axis=1)
    first = {int(voice): number for number, voice in enumerate(dict.fromkeys(nearest), start=1)}
    return assigned(words, words, found, [first[int(voice)] for voice in nearest])


def _voices(embedding: Embedding, vectors: Vectors, found: Sequence[Turn], max_speakers: int) -> Vectors:
    """[speakers, dimension]."""
    seconds = np.array([turn.seconds for turn in found])
    longest = np.argsort(-seconds, kind="stable")[:_MOST_TURNS]
    known = vectors[longest[seconds[longest] >= min(LEARN_S, seconds.max())]]
    clusters = _clusters(embedding.distances(known, known), embedding.threshold, max_speakers)
    spoken = np.bincount(clusters, seconds[longest[: len(known)]])
    people = np.flatnonzero(spoken >= min(LEAST_SPEECH_S, spoken.max()))
    return np.stack([embedding.pool(known[clusters == cluster]) for cluster in people])


def _clusters(apart: NDArray[np.float64], threshold: float, most: int) -> NDArray[np.int64]:
    if len(apart) == 1:
        return np.zeros(1, np.int64)
    told = AgglomerativeClustering(
        n_clusters=None, metric="precomputed", linkage="average", distance_threshold=threshold
    ).fit(apart)
    if told.n_clusters_ > most:
        told = AgglomerativeClustering(n_clusters=most, metric="precomputed", linkage="average").fit(apart)
    return np.asarray(told.labels_)
