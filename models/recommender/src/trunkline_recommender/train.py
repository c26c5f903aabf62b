"""Train the recommender that ships: python -m trunkline_recommender.train."""

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxmltools
import scipy
import xgboost
from threadpoolctl import threadpool_limits

from trunkline_artifact import CARD, EVALUATION, parser, to_json, write
from trunkline_recommender import artifact, card, data, export, preview, ranker, release, report, towers
from trunkline_recommender.newcomers import findability
from trunkline_recommender.ratings import Ratings
from trunkline_recommender.recipe import train
from trunkline_recommender.simulator import Population, World, simulate
from trunkline_recommender.split import HELD_OUT, split
from trunkline_recommender.towers import Parameters

POPULATION = Population()
STRANGERS = 300
"""Readers of the simulation, the last ones, whom training never sees."""
SEED = 7
LENGTH = 64
"""Books of a reader's history that the user tower takes."""
DATA_LENGTH = 200
"""The same for recorded data, whose histories have no order to cut them by."""
GRID = (
    Parameters(ridge=30.0),
    Parameters(ridge=10.0),
    Parameters(ridge=10.0, content_weight=2.0),
    Parameters(ridge=10.0, half_life=60.0),
)
"""What is tried on the simulator's validation books."""
DATA_GRID = tuple(Parameters(dimension=128, content_weight=weight) for weight in (0.0, 1.0, 2.0))
"""What is tried on the validation books of recorded data."""

HELP = """\
Simulates readers and books, trains two towers and a ranker on them, checks that the ONNX graphs answer as
what they were made from, measures them on books held out, and writes signature.json, the three graphs,
items.json, items.safetensors, views.json, preview.json, evaluation.json, CARD.md and SHA256SUMS. About a
minute on one core.
"""
EPILOG = """\
examples:
  python -m trunkline_recommender.train                    retrain what ships; the digests stay the same on
                                                           the same machine and versions
  python -m trunkline_recommender.train --out /tmp/books   leave what ships alone
  python -m trunkline_recommender.train --data DIR         also train a second recommender, by the same
                                                           recipe, on the ratings of DIR, and report it in
                                                           the card; what ships stays the simulator's

files of DIR, as in goodbooks-10k:
  ratings.csv.gz   user_id, book_id, rating (1 to 5)
  books.csv        book_id, authors, original_publication_year, title, language_code and others
"""


@dataclass(frozen=True, slots=True)
class Recipe:
    """What is trained, but for the ratings."""

    seed: int = SEED
    grid: Sequence[Parameters] = GRID
    data_grid: Sequence[Parameters] = DATA_GRID
    length: int = LENGTH
    data_length: int = DATA_LENGTH
    rounds: int = ranker.ROUNDS
    strangers: int = STRANGERS

    def as_json(self) -> dict[str, Any]:
        """What makes two trainings comparable."""
        return {
            "seed": self.seed,
            "held_out": HELD_OUT,
            "grid": [asdict(parameters) for parameters in self.grid],
            "data_grid": [asdict(parameters) for parameters in self.data_grid],
            "length": self.length,
            "data_length": self.data_length,
            "star_weights": list(towers.STAR_WEIGHTS),
            "content_ridges": list(towers.CONTENT_RIDGES),
            "ranker": {**ranker.PARAMETERS, "rounds": self.rounds, "unknown": ranker.UNKNOWN},
            "numpy": np.__version__,
            "scipy": scipy.__version__,
            "xgboost": xgboost.__version__,
            "onnxmltools": onnxmltools.__version__,
            "onnx": onnx.__version__,
        }


def main(arguments: Sequence[str] | None = None) -> int:
    """Trains as the command line says; returns the exit status."""
    command = parser(Path(__file__).parent, HELP, EPILOG, seed=SEED, recorded="recorded ratings")
    chosen = command.parse_args(arguments)
    started = time.perf_counter()
    recorded = None
    if chosen.data is not None:
        try:
            recorded = data.read(chosen.data, chosen.seed)
        except (OSError, ValueError) as error:
            command.error(f"--data: {error}")
    with threadpool_limits(limits=1):
        evaluation = build(chosen.out, POPULATION, Recipe(seed=chosen.seed), recorded)
    for name in ("simulator", "data"):
        if name in evaluation:
            test = evaluation[name]["test"]
            print(
                f"{name:10}NDCG@10 {test['two_tower_ranker']['ndcg']:.3f} (towers alone "
                f"{test['two_tower']['ndcg']:.3f}, popularity {test['popularity']['ndcg']:.3f}), "
                f"recall@100 {test['two_tower']['recall']:.3f}"
            )
    print(f"wrote {chosen.out} in {time.perf_counter() - started:.0f} s")
    return 0


def build(
    out: Path, population: Population, recipe: Recipe, recorded: Ratings | None = None
) -> dict[str, Any]:
    """Trains on a simulated population, writes the artefact to `out`, returns its evaluation.

    Figures of recorded data that `out` holds from an earlier run are kept when they were measured with
    this very recipe, so that retraining without the data does not lose them.

    Raises:
        ArithmeticError: when a graph's answers differ from those of what it was made from.
        ValueError: when there are too few ratings; nothing is written.
    """
    population = replace(population, readers=population.readers + recipe.strangers)
    world = simulate(population, recipe.seed)
    own, others = parts(world, population.readers - recipe.strangers)
    trained = train(own, recipe.seed, recipe.length, recipe.grid, recipe.rounds)
    graphs = export.graphs(trained)
    known = world.ratings.where(world.ratings.reader < own.readers)
    evaluation: dict[str, Any] = {
        "recipe": recipe.as_json(),
        "simulator": {
            "days": population.days,
            **report.measured(trained, graphs, own, recipe.seed),
            "strangers": report.strangers(trained, graphs, others),
            "findability": {
                name: round(value, 4) for name, value in asdict(findability(trained, known)).items()
            },
        },
    }
    if recorded is not None:
        other = train(recorded, recipe.seed, recipe.data_length, recipe.data_grid, recipe.rounds)
        evaluation["data"] = report.measured(other, export.graphs(other), recorded, recipe.seed)
    else:
        kept = _kept(out / EVALUATION, evaluation["recipe"])
        if kept is not None:
            evaluation["data"] = kept
    files = {
        **release.files(trained, graphs),
        artifact.PREVIEW: artifact.to_lines(_preview(world, others, population.readers - recipe.strangers)),
        EVALUATION: to_json(evaluation),
    }
    files[CARD] = card.render(evaluation, files).encode()
    write(out, files)
    return evaluation


def parts(world: World, readers: int) -> tuple[Ratings, Ratings]:
    """What the first `readers` gave to the books that are not new, and what the others gave to them."""
    ratings = world.ratings
    books = ratings.books[: int((~world.new).sum())]
    old = ~world.new[ratings.book]

    def of(chosen: npt.NDArray[np.bool_], first: int) -> Ratings:
        part = ratings.where(chosen & old)
        return Ratings(books, part.reader - first, part.book, part.stars, part.time_us)

    return of(ratings.reader < readers, 0), of(ratings.reader >= readers, readers)


def _preview(world: World, others: Ratings, readers: int) -> dict[str, Any]:
    held_out = split(others)
    everything = world.ratings.where(world.ratings.reader >= readers)
    moved = Ratings(
        everything.books, everything.reader - readers, everything.book, everything.stars, everything.time_us
    )
    return preview.draw(
        others.where(held_out.known), others.where(held_out.test), moved, world.new, held_out.eligible
    )


def _kept(path: Path, current: dict[str, Any]) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    before = json.loads(path.read_text())
    if before["recipe"] != current:
        return None
    kept: dict[str, Any] | None = before.get("data")
    return kept


if __name__ == "__main__":
    sys.exit(main())
