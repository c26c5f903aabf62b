"""Train the fraud model that ships: python -m trunkline_fraud.train."""

import hashlib
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import onnx
import onnxmltools
import xgboost

from trunkline_artifact import CARD, EVALUATION, SIGNATURE, VIEWS, parser, to_json, write
from trunkline_fraud import artifact, card, data, export, features, views
from trunkline_fraud.evaluate import evaluate, without_store
from trunkline_fraud.recipe import FORGOTTEN, PARAMETERS, ROUNDS, Trained, train
from trunkline_fraud.simulator import Population, simulate
from trunkline_fraud.transactions import Transactions

POPULATION = Population(customers=2000, terminals=2000, days=180)
SEED = 7
FRESH_SEED_STEP = 1000
FRESH_POPULATIONS = 5

HELP = """\
Simulates card transactions, trains the fraud model on them, checks that the ONNX graph answers as
XGBoost does, measures it on later days and on another population, and writes model.onnx,
signature.json, views.json, evaluation.json, CARD.md and SHA256SUMS. About 15 seconds on one core.
"""
EPILOG = """\
examples:
  python -m trunkline_fraud.train                    retrain what ships; the digests stay the same on the
                                                     same machine and versions
  python -m trunkline_fraud.train --out /tmp/fraud   leave what ships alone
  python -m trunkline_fraud.train --data DIR         also train a second model, by the same recipe, on
                                                     DIR/transactions*.parquet, and report it in the card;
                                                     model.onnx stays the simulator's

columns of transactions*.parquet:
  TRANSACTION_ID, TX_DATETIME (UTC), CUSTOMER_ID, TERMINAL_ID, TX_AMOUNT, TX_FRAUD (0 or 1) and, if
  known, TX_FRAUD_SCENARIO (1 large amount, 2 compromised terminal, 3 compromised card)
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Trains as the command line says; returns the exit status."""
    command = parser(Path(__file__).parent, HELP, EPILOG, seed=SEED, recorded="recorded transactions")
    chosen = command.parse_args(arguments)
    started = time.perf_counter()
    recorded = None
    if chosen.data is not None:
        try:
            recorded = data.read(chosen.data)
        except (OSError, ValueError) as error:
            command.error(f"--data: {error}")
    evaluation = build(chosen.out, POPULATION, chosen.seed, recorded)
    for name in ("simulator", "data"):
        if name in evaluation:
            test = evaluation[name]["test"]
            print(
                f"{name:10}ROC AUC {test['roc_auc']:.3f}, average precision {test['average_precision']:.3f}, "
                f"parity {evaluation[name]['parity']:.1e}"
            )
    print(f"wrote {chosen.out} in {time.perf_counter() - started:.0f} s")
    return 0


def build(
    out: Path, population: Population, seed: int, recorded: Transactions | None = None, rounds: int = ROUNDS
) -> dict[str, Any]:
    """Trains on a simulated population, writes the artefact to `out`, returns its evaluation.

    Figures of recorded data that `out` holds from an earlier run are kept when they were measured with
    this very recipe, so that retraining without the data does not lose them.

    Raises:
        ArithmeticError: when the graph's answers differ from XGBoost's.
        ValueError: when a history is too short or without fraud; nothing is written.
    """
    trained = train(simulate(population, seed), seed, rounds)
    fresh = [
        _fresh(trained, population, seed + FRESH_SEED_STEP * step) for step in range(1, FRESH_POPULATIONS + 1)
    ]
    model = export.to_onnx(trained.booster)
    evaluation: dict[str, Any] = {
        "recipe": recipe(rounds),
        "simulator": {
            "population": {
                "customers": population.customers,
                "terminals": population.terminals,
                "days": population.days,
            },
            "seed": seed,
            **_measured(trained, model),
            "fresh_population": fresh[0],
            "fresh_roc_auc": [figures["roc_auc"] for figures in fresh],
        },
    }
    if recorded is not None:
        other = train(recorded, seed, rounds)
        evaluation["data"] = {"seed": seed, **_measured(other, export.to_onnx(other.booster))}
    else:
        kept = _kept(out / EVALUATION, evaluation["recipe"], seed)
        if kept is not None:
            evaluation["data"] = kept
    digest = hashlib.sha256(model).hexdigest()
    signature = {
        "task": "score_transaction",
        "inputs": list(features.INPUTS),
        "entity_types": views.ENTITY_TYPES,
        "defaults": trained.defaults,
        "thresholds": asdict(trained.thresholds),
    }
    write(
        out,
        {
            artifact.MODEL: model,
            SIGNATURE: to_json(signature),
            VIEWS: to_json(views.declare(trained.defaults)),
            EVALUATION: to_json(evaluation),
            CARD: card.render(evaluation, digest, len(model)).encode(),
        },
    )
    return evaluation


def recipe(rounds: int) -> dict[str, Any]:
    """What makes two trainings comparable."""
    return {
        **PARAMETERS,
        "rounds": rounds,
        "forgotten": FORGOTTEN,
        "inputs": list(features.INPUTS),
        "xgboost": xgboost.__version__,
        "onnxmltools": onnxmltools.__version__,
        "onnx": onnx.__version__,
    }


def _measured(trained: Trained, model: bytes) -> dict[str, Any]:
    test = evaluate(trained.test, trained.predict(trained.test_rows), trained.thresholds)
    return {
        "split": asdict(trained.split),
        "training_count": trained.training_count,
        "training_frauds": trained.training_frauds,
        "parity": float(f"{export.parity(model, trained.booster, trained.test_rows):.2e}"),
        "test": asdict(test),
        "without_store": asdict(without_store(trained)),
    }


def _fresh(trained: Trained, population: Population, seed: int) -> dict[str, Any]:
    transactions = simulate(population, seed)
    days = trained.split.masks(transactions)[2]
    rows = features.fill(features.inputs(transactions)[days], trained.defaults)
    return asdict(evaluate(transactions.where(days), trained.predict(rows), trained.thresholds))


def _kept(path: Path, current: dict[str, Any], seed: int) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    before = json.loads(path.read_text())
    if before["recipe"] != current or before.get("data", {}).get("seed") != seed:
        return None
    kept: dict[str, Any] = before["data"]
    return kept


if __name__ == "__main__":
    sys.exit(main())
