"""Trains the fraud model on a history: windows, time split, boosted trees, thresholds."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import xgboost as xgb
from sklearn.metrics import precision_recall_curve

from trunkline_fraud import features
from trunkline_fraud.split import Split
from trunkline_fraud.transactions import DAY_US, Transactions

PARAMETERS: Mapping[str, object] = {
    "objective": "binary:logistic",
    "tree_method": "hist",
    "max_depth": 5,
    "eta": 0.08,
    "min_child_weight": 5,
    "subsample": 0.8,
    "colsample_bytree": 0.8,
    "base_score": 0.5,
    # One thread adds gradients in one order: the same trees on every run.
    "nthread": 1,
}
ROUNDS = 200
FORGOTTEN = 0.03
"""Share of training rows that lose a view's row, so that defaults are no surprise."""
DECLINE_PRECISION = 0.9


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Probabilities from which a transaction is looked at, or refused."""

    review: float
    decline: float


@dataclass(frozen=True, slots=True)
class Trained:
    """A model, and the rows of its history that it did not see."""

    booster: xgb.Booster
    defaults: dict[str, float]
    """What stands in for a stored feature that is absent, by `view:field`."""
    thresholds: Thresholds
    split: Split
    training_count: int
    training_frauds: int
    test: Transactions
    test_rows: npt.NDArray[np.float32]
    """[len(test), INPUTS], defaults filled in."""

    def predict(self, rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """[N] probabilities of fraud for [N, INPUTS] filled rows."""
        return predict(self.booster, rows)


def predict(booster: xgb.Booster, rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """[N] probabilities of fraud for [N, INPUTS] filled rows."""
    answer: npt.NDArray[np.float32] = booster.predict(xgb.DMatrix(features.derive(rows), nthread=1))
    return answer


def train(transactions: Transactions, seed: int = 0, rounds: int = ROUNDS) -> Trained:
    """The model of a history; the same for the same arguments on the same platform and versions.

    Raises:
        ValueError: when the history is too short, or a part of it holds no fraud.
    """
    days = int(transactions.time_us[-1] // DAY_US - transactions.time_us[0] // DAY_US) + 1
    split = Split.of(days)
    training, validation, test = split.masks(transactions)
    for part, mask in (("training", training), ("validation", validation), ("test", test)):
        if not transactions.fraud[mask].any():
            raise ValueError(f"no fraud in the {part} days")
    rows = features.inputs(transactions)
    defaults = features.typical(rows[training])
    random = np.random.default_rng(seed)
    seen = features.fill(features.forget(rows[training], FORGOTTEN, random), defaults)
    matrix = xgb.DMatrix(features.derive(seen), transactions.fraud[training], nthread=1)
    booster = xgb.train({**PARAMETERS, "seed": seed}, matrix, rounds)
    validation_rows = features.fill(rows[validation], defaults)
    return Trained(
        booster=booster,
        defaults=defaults,
        thresholds=choose(transactions.fraud[validation], predict(booster, validation_rows)),
        split=split,
        training_count=int(training.sum()),
        training_frauds=int(transactions.fraud[training].sum()),
        test=transactions.where(test),
        test_rows=features.fill(rows[test], defaults),
    )


def choose(fraud: npt.NDArray[np.bool_], probability: npt.NDArray[np.float32]) -> Thresholds:
    """Decline: the lowest threshold from which precision is DECLINE_PRECISION or more.

    Review: the threshold with the highest F2 (recall counts twice as much as precision), and no higher
    than the decline threshold. Where no threshold is precise enough, decline is the most precise one.
    """
    precision, recall, threshold = precision_recall_curve(fraud, probability)
    # The last point is a convention without a threshold.
    precision, recall = precision[:-1], recall[:-1]
    precise = np.flatnonzero(precision >= DECLINE_PRECISION)
    decline = threshold[precise[0] if len(precise) else np.argmax(precision)]
    f2 = 5 * precision * recall / np.maximum(4 * precision + recall, 1e-12)
    review = min(threshold[np.argmax(f2)], decline)
    return Thresholds(review=round(float(review), 4), decline=round(float(decline), 4))
