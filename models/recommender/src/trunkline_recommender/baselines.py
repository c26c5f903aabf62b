"""What a recommender has to beat."""

from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from trunkline_recommender.evaluate import Scorer
from trunkline_recommender.ratings import Ratings


def popularity(history: Ratings) -> Scorer:
    """Every reader is shown the books that most readers liked."""
    count = np.bincount(history.book, history.liked, len(history.books))
    return lambda readers: np.tile(count, (len(readers), 1))


def item_knn(history: Ratings) -> Scorer:
    """Books are scored by the sum of their cosine similarities to the liked books of the reader.

    The cosine is that of the columns of a matrix of readers and liked books (Sarwar, Karypis, Konstan and
    Riedl, "Item-based collaborative filtering recommendation algorithms", 2001).
    """
    liked = history.where(history.liked)
    seen = sp.csr_matrix(
        (np.ones(len(liked), np.float32), (liked.reader, liked.book)),
        shape=(history.readers, len(history.books)),
    )
    similar = (seen.T @ seen).toarray()
    length = np.sqrt(np.maximum(np.diag(similar), 1.0))
    similar /= length[:, None]
    similar /= length[None, :]
    np.fill_diagonal(similar, 0.0)

    def score(readers: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        scores: npt.NDArray[Any] = np.asarray(seen[readers] @ similar)
        return scores

    return score


def chance(books: int, seed: int) -> Scorer:
    """Any order of the books."""
    random = np.random.default_rng(seed)
    return lambda readers: random.random((len(readers), books))
