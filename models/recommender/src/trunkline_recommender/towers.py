"""The two towers, in closed form.

A linear autoencoder that may not predict a book from itself (EASE: Steck, "Embarrassingly Shallow
Autoencoders for Sparse Data", 2019) says how much a book in a reader's history speaks for every other book.
It is learned from the readers, from the words of the books' content, each of which is one more reader who
read all the books it applies to, and from the readers' features, each of which is one more book (Jeunen, Van
Balen and Goethals, "Closed-Form Models for Collaborative Filtering with Side-Information", 2020). Its
prediction for the readers, cut to D dimensions by a singular value decomposition, falls apart into a tower
for the reader, a weighted sum over history and features, and one for the book.

No gradient step is taken, and nothing is drawn at random. The inverse is that of a matrix of readers and
words, not of books (Woodbury), so ten thousand books take seconds.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import scipy.linalg as la
import scipy.sparse as sp

from trunkline_recommender.books import Book
from trunkline_recommender.content import content, words
from trunkline_recommender.ratings import Ratings

Float32 = npt.NDArray[np.float32]
STAR_WEIGHTS = (0.0, 0.2, 0.4, 0.7, 1.0, 1.2)
"""What a book with so many stars says about the reader. To have chosen it speaks for it, whatever the stars."""

CONTENT_RIDGES = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
"""Tried for the item tower, relative to the mean variance of a content feature."""
CONTENT_FOLDS = 5


@dataclass(frozen=True, slots=True)
class Parameters:
    """What is chosen on the validation books."""

    dimension: int = 64
    ridge: float = 1.0
    """Regularisation, relative to the mean squared length of a reader's row."""
    content_weight: float = 1.0
    """How much a word of the content counts, relative to a reader."""
    feature_weight: float = 0.1
    """How much a standardised feature counts, relative to a book."""
    tail_weight: float = 0.2
    """How much the cut to D dimensions cares for unpopular books: 0 as little as they are predicted."""
    half_life: float = 0.0
    """After so many newer books a book in the history counts half; 0: all count alike."""


@dataclass(frozen=True, slots=True, eq=False)
class Towers:
    """I books, F features, C content features, D dimensions."""

    items: Float32
    """[I, D] embeddings of the books: what the index holds."""
    inputs: Float32
    """[I, D] what a book in the history adds to the reader's embedding."""
    star_weights: Float32
    """[6] by stars."""
    position_weights: Float32
    """[L] by place in the history, newest first."""
    feature_mean: Float32
    """[F]."""
    feature_scale: Float32
    """[F] what one standard deviation is multiplied with: 1 / deviation."""
    feature_inputs: Float32
    """[F, D] what a standardised feature adds."""
    content_inputs: Float32
    """[C, D]."""
    content_bias: Float32
    """[D]."""

    def readers(self, history: npt.NDArray[np.int64], stars: Float32, features: Float32) -> Float32:
        """[N, D] embeddings of readers: [N, L] books + 1 (0: none), [N, L] stars, [N, F] features."""
        weight = self.star_weights[np.clip(np.rint(stars), 0, 5).astype(np.int64)] * (history > 0)
        count = np.maximum((weight > 0).sum(axis=1), 1).astype(np.float32)
        table = np.vstack([np.zeros_like(self.inputs[:1]), self.inputs])
        weight = weight * self.position_weights / np.sqrt(count)[:, None]
        places = sp.csr_matrix(
            (weight.ravel(), history.ravel(), np.arange(len(history) + 1) * history.shape[1]),
            shape=(len(history), len(table)),
        )
        standard = (features - self.feature_mean) * self.feature_scale
        embedding: Float32 = (places @ table + standard @ self.feature_inputs).astype(np.float32)
        return embedding

    def books(self, features: Float32) -> Float32:
        """[N, D] embeddings of books nobody has read: [N, C] content features."""
        embedding: Float32 = features @ self.content_inputs + self.content_bias
        return embedding


def fit(ratings: Ratings, features: npt.NDArray[np.float64], length: int, parameters: Parameters) -> Towers:
    """The towers of the ratings; `features` [readers, F] without NaN. `length`: L of the history.

    Raises:
        ValueError: when there are fewer readers than dimensions.
    """
    readers, total = len(features), len(ratings.books)
    if readers < parameters.dimension:
        raise ValueError(f"{readers} readers are too few for {parameters.dimension} dimensions")
    mean, scale = features.mean(axis=0), 1.0 / np.maximum(features.std(axis=0), 1e-6)
    standard = (features - mean) * scale * parameters.feature_weight
    count = np.maximum(np.bincount(ratings.reader, minlength=readers), 1)
    weights = np.array(STAR_WEIGHTS)[ratings.stars] / np.sqrt(count)[ratings.reader]
    seen = sp.csr_matrix((weights, (ratings.reader, ratings.book)), shape=(readers, total))
    size = float(seen.multiply(seen).sum()) / readers
    told = _words(ratings.books) * (parameters.content_weight * np.sqrt(size))
    wide = (
        sp.vstack(
            [
                sp.hstack([seen, sp.csr_matrix(standard * np.sqrt(size))]),
                sp.hstack([told, sp.csr_matrix((told.shape[0], features.shape[1]))]),
            ]
        )
        .astype(np.float32)
        .tocsr()
    )

    ease = _Ease.solve(wide, np.float32(parameters.ridge * size))
    predicted = ease.predictions()[:readers, :total]
    tail = np.maximum(np.linalg.norm(predicted, axis=0), 1e-3 * size) ** -parameters.tail_weight
    cut = predicted * tail
    _, vectors = la.eigh(
        (cut @ cut.T).astype(np.float64), subset_by_index=(readers - parameters.dimension, readers - 1)
    )
    base = la.qr(cut.T @ vectors[:, ::-1].astype(np.float32), mode="economic")[0]
    # Of each pair of directions the one whose largest part is positive.
    base *= np.sign(base[np.argmax(np.abs(base), axis=0), np.arange(base.shape[1])])
    # predicted = XB is nearly XB (tail base) (base / tail)', once for the reader, once for the book.
    books_side = np.zeros((wide.shape[1], base.shape[1]), np.float32)
    books_side[:total] = base * tail[:, None]
    inputs, items = ease.times(books_side), base / tail[:, None]

    stretch = np.float32(np.sqrt(np.mean(np.square(items).sum(axis=1))))
    items, inputs = items / stretch, inputs * stretch
    of_content, bias = _content(ratings, items)
    places = np.arange(length)
    return Towers(
        items=np.ascontiguousarray(items, np.float32),
        inputs=np.ascontiguousarray(inputs[:total], np.float32),
        star_weights=np.array(STAR_WEIGHTS, np.float32),
        position_weights=(
            np.exp2(-places / parameters.half_life) if parameters.half_life else np.ones(length)
        ).astype(np.float32),
        feature_mean=mean.astype(np.float32),
        feature_scale=scale.astype(np.float32),
        feature_inputs=(inputs[total:] * parameters.feature_weight * np.sqrt(size)).astype(np.float32),
        content_inputs=of_content.astype(np.float32),
        content_bias=bias.astype(np.float32),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Ease:
    """B of the autoencoder X -> XB with a diagonal of zeros, never written out: it is books by books.

    With P = (X'X + ridge)^-1, B = 1 - P / diag(P). By Woodbury P = (1 - X'A) / ridge, and XP = A.
    """

    rows: sp.csr_matrix
    """X: readers and words by books and features."""
    answer: Float32
    """A = (XX' + ridge)^-1 X."""
    diagonal: Float32
    """diag(P)."""
    ridge: np.float32

    @classmethod
    def solve(cls, rows: sp.csr_matrix, ridge: np.float32) -> Self:
        """Of X, in float32."""
        kernel = (rows @ rows.T).toarray()
        kernel[np.diag_indices(len(kernel))] += ridge
        dense = rows.toarray()
        factor = la.cho_factor(kernel, overwrite_a=True, check_finite=False)
        answer = la.cho_solve(factor, dense, check_finite=False)
        return cls(rows, answer, (1.0 - np.einsum("ij,ij->j", dense, answer)) / ridge, ridge)

    def predictions(self) -> Float32:
        """XB."""
        predictions: Float32 = self.rows.toarray() - self.answer / self.diagonal
        return predictions

    def times(self, matrix: Float32) -> Float32:
        """B times a matrix."""
        divided = matrix / self.diagonal[:, None]
        product: Float32 = matrix - (divided - self.rows.T @ (self.answer @ divided)) / self.ridge
        return product


def _words(books: Sequence[Book]) -> sp.csr_matrix:
    """[W, I] the words that apply to two books or more and to less than a fifth of them; rows of length 1."""
    members: Mapping[str, list[int]] = defaultdict(list)
    for place, book in enumerate(books):
        for word in dict.fromkeys(words(book)):
            members[word].append(place)
    chosen = [own for own in members.values() if 2 <= len(own) < len(books) / 5]
    values = [np.full(len(own), len(own) ** -0.5) for own in chosen]
    rows = [np.full(len(own), row) for row, own in enumerate(chosen)]
    if not chosen:
        return sp.csr_matrix((0, len(books)))
    return sp.csr_matrix(
        (np.concatenate(values), (np.concatenate(rows), np.concatenate(chosen))),
        shape=(len(chosen), len(books)),
    )


def _content(ratings: Ratings, items: Float32) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Ridge regression of the embeddings on the content; a book counts by its readers, as it is known.

    The ridge is the one with which books left out, a fold at a time, are predicted best.
    """
    rows, targets = content(ratings.books).astype(np.float64), items.astype(np.float64)
    weight = np.log1p(np.bincount(ratings.book, minlength=len(ratings.books)))
    fold = np.arange(len(rows)) % CONTENT_FOLDS

    def error(ridge: float) -> float:
        missed = 0.0
        for out in range(CONTENT_FOLDS):
            slopes, bias = _regress(rows, targets, weight * (fold != out), ridge)
            left = fold == out
            missed += float(weight[left] @ np.square(rows[left] @ slopes + bias - targets[left]).sum(axis=1))
        return missed

    return _regress(rows, targets, weight, min(CONTENT_RIDGES, key=error))


def _regress(
    rows: npt.NDArray[np.float64],
    targets: npt.NDArray[np.float64],
    weight: npt.NDArray[np.float64],
    ridge: float,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    share = weight / weight.sum()
    rows_mean, targets_mean = share @ rows, share @ targets
    centred = rows - rows_mean
    gram = centred.T @ (centred * share[:, None])
    # The small number is for a catalogue of which nothing is known.
    gram[np.diag_indices(len(gram))] += ridge * np.trace(gram) / len(gram) + 1e-9
    slopes = la.solve(gram, centred.T @ ((targets - targets_mean) * share[:, None]), assume_a="pos")
    return slopes, targets_mean - rows_mean @ slopes
