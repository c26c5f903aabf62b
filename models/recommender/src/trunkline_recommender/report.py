"""Measures a trained recommender through the graphs that ship."""

from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt

from trunkline_recommender import baselines, ranker
from trunkline_recommender.content import content
from trunkline_recommender.evaluate import Figures, Scorer, candidates, evaluate, measure, targets
from trunkline_recommender.export import Graph, Graphs, difference
from trunkline_recommender.ratings import Ratings
from trunkline_recommender.recipe import Known, Trained
from trunkline_recommender.split import Split, split

Float32 = npt.NDArray[np.float32]
PARITY_READERS = 200


def measured(trained: Trained, graphs: Graphs, ratings: Ratings, seed: int) -> dict[str, Any]:
    """The figures of a part of the evaluation: test books, parity, and how it was trained."""
    best = Parts(trained, graphs, trained.known, ratings.where(trained.split.test), trained.split.eligible)
    return {
        "counts": counts(ratings, trained.split),
        "length": trained.length,
        "parameters": asdict(trained.parameters),
        "chosen_from": [
            {**asdict(parameters), "validation_ndcg": round(ndcg, 4)}
            for parameters, ndcg in trained.chosen_from
        ],
        "ranker": {"candidates": trained.ranker_rows, "liked": trained.ranker_liked},
        "parity": parity(trained, graphs),
        "test": {
            "chance": best.figures(baselines.chance(len(ratings.books), seed)),
            "popularity": best.figures(baselines.popularity(trained.known.ratings)),
            "item_knn": best.figures(baselines.item_knn(trained.known.ratings)),
            **best.own(),
        },
    }


def strangers(trained: Trained, graphs: Graphs, others: Ratings) -> dict[str, Any]:
    """The figures of readers whom training never saw, with popularity as training saw it."""
    parts = split(others)
    known = trained.known.others(others.where(parts.known))
    best = Parts(trained, graphs, known, others.where(parts.test), parts.eligible)
    return {
        "counts": counts(others, parts),
        "popularity": best.figures(baselines.popularity(trained.known.ratings)),
        **best.own(),
    }


def counts(ratings: Ratings, parts: Split) -> dict[str, int]:
    """How much there is of everything."""
    return {
        "readers": ratings.readers,
        "books": len(ratings.books),
        "ratings": len(ratings),
        "training": int(parts.training.sum()),
        "known": int(parts.known.sum()),
        "eligible": len(parts.eligible),
    }


class Parts:
    """Readers with books held out, and the graphs to find them with."""

    def __init__(
        self,
        trained: Trained,
        graphs: Graphs,
        known: Known,
        held_out: Ratings,
        readers: npt.NDArray[np.int64],
    ) -> None:
        self._trained, self._known, self._held_out, self._readers = trained, known, held_out, readers
        self._tower, self._ranker = Graph(graphs.user_tower), Graph(graphs.ranker)

    def figures(self, scorer: Scorer) -> dict[str, float]:
        """The figures of a scorer."""
        return evaluate(scorer, self._known.ratings, self._held_out, self._readers).as_json()

    def own(self) -> dict[str, dict[str, float]]:
        """The figures of the two towers alone, and with the ranker: of the same first 100."""
        return {"two_tower": self.figures(self._score), "two_tower_ranker": self._ranked().as_json()}

    def _score(self, readers: npt.NDArray[np.int64]) -> Float32:
        scores: Float32 = self._embed(readers) @ self._trained.towers.items.T
        return scores

    def _embed(self, readers: npt.NDArray[np.int64]) -> Float32:
        history, stars = self._known.histories(readers, self._trained.length)
        return self._tower(history=history, ratings=stars, features=self._known.features(readers))

    def _ranked(self) -> Figures:
        ordered = []
        for chunk, best, scores in candidates(self._score, self._known.ratings, self._readers):
            embeddings, users = self._embed(chunk), self._known.features(chunk)
            for place, found in enumerate(best):
                probability = self._ranker(
                    user=users[[place]],
                    user_embedding=embeddings[[place]],
                    items=self._known.items[found],
                    scores=scores[place].astype(np.float32),
                )
                ordered.append(found[np.argsort(-probability, kind="stable")])
        width = min(map(len, ordered))
        return measure(
            np.stack([found[:width] for found in ordered]),
            targets(self._held_out, self._readers),
            len(self._known.ratings.books),
        )


def parity(trained: Trained, graphs: Graphs) -> dict[str, float]:
    """How far the graphs are from what they were made from.

    Raises:
        ArithmeticError: when further than export.PARITY.
    """
    readers = trained.split.eligible[:PARITY_READERS]
    known = trained.known
    history, stars = known.histories(readers, trained.length)
    users = known.features(readers)
    embeddings = trained.embed(readers)
    books = content(known.ratings.books)
    ranked, expected = [], []
    graph = Graph(graphs.ranker)
    for place in range(len(readers)):
        found = np.argsort(-(trained.towers.items @ embeddings[place]), kind="stable")[:100]
        items, scores = known.items[found].copy(), trained.towers.items[found] @ embeddings[place]
        # As ranking gives them for a book that the artefact does not know.
        items[-2:], scores[-1:] = np.nan, np.nan
        user, embedding = users[[place]], embeddings[[place]]
        ranked.append(graph(user=user, user_embedding=embedding, items=items, scores=scores))
        wide = trained.columns.wide(
            np.repeat(user, len(found), axis=0), np.repeat(embedding, len(found), axis=0), items, scores
        )
        expected.append(ranker.predict(trained.booster, wide))
    tower = Graph(graphs.user_tower)(history=history, ratings=stars, features=users)
    of_content = Graph(graphs.item_tower)(content=books)
    figures = {
        "user_tower": difference(tower, embeddings, "the user tower"),
        "item_tower": difference(of_content, trained.towers.books(books), "the item tower"),
        "ranker": difference(np.concatenate(ranked), np.concatenate(expected), "the ranker"),
    }
    return {name: float(f"{value:.2e}") for name, value in figures.items()}
