"""Measures a model on transactions it did not see."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

from trunkline_fraud import features
from trunkline_fraud.recipe import Thresholds, Trained
from trunkline_fraud.transactions import DAY_US, SCENARIOS, Transactions

CARDS_A_DAY = 100


@dataclass(frozen=True, slots=True)
class AtThreshold:
    """What flagging every transaction from a threshold on does."""

    threshold: float
    precision: float
    recall: float
    f1: float
    flagged: float
    """Share of transactions."""
    recall_by_scenario: dict[str, float]
    """By the names of SCENARIOS; only those that occur."""


@dataclass(frozen=True, slots=True)
class Bin:
    """Transactions of like probability."""

    predicted: float
    """Mean probability."""
    observed: float
    """Share of fraud."""
    count: int


@dataclass(frozen=True, slots=True)
class Evaluation:
    """How good probabilities are."""

    count: int
    frauds: int
    roc_auc: float
    average_precision: float
    review: AtThreshold
    decline: AtThreshold
    brier: float
    brier_of_base_rate: float
    """The Brier score of always answering the share of fraud."""
    calibration_error: float
    """Expected calibration error: mean distance of predicted and observed over the bins, by count."""
    calibration: list[Bin]
    card_precision: float
    """Share of cards with fraud among the CARDS_A_DAY cards with the highest probability of a day,
    mean over days."""
    card_precision_best: float
    """What a perfect ranking would reach: there may be fewer such cards than CARDS_A_DAY."""


def evaluate(
    transactions: Transactions, probability: npt.NDArray[np.float32], thresholds: Thresholds
) -> Evaluation:
    """The figures of [N] probabilities for N transactions, among which there is fraud."""
    fraud = transactions.fraud
    bins = _bins(fraud, probability)
    card_precision, card_precision_best = _card_precision(transactions, probability)
    base_rate = np.full(len(fraud), fraud.mean())
    return Evaluation(
        count=len(transactions),
        frauds=int(fraud.sum()),
        roc_auc=_figure(roc_auc_score(fraud, probability)),
        average_precision=_figure(average_precision_score(fraud, probability)),
        review=_at(thresholds.review, transactions, probability),
        decline=_at(thresholds.decline, transactions, probability),
        brier=round(float(brier_score_loss(fraud, probability)), 6),
        brier_of_base_rate=round(float(brier_score_loss(fraud, base_rate)), 6),
        calibration_error=round(
            sum(abs(part.predicted - part.observed) * part.count for part in bins) / len(transactions), 5
        ),
        calibration=bins,
        card_precision=_figure(card_precision),
        card_precision_best=_figure(card_precision_best),
    )


def without_store(trained: Trained) -> Evaluation:
    """The test days as they would be scored with the feature store away: every row is its default."""
    rows = trained.test_rows.copy()
    rows[:, len(features.REQUEST_INPUTS) :] = np.nan
    probability = trained.predict(features.fill(rows, trained.defaults))
    return evaluate(trained.test, probability, trained.thresholds)


def _at(threshold: float, transactions: Transactions, probability: npt.NDArray[np.float32]) -> AtThreshold:
    flagged = probability >= threshold
    hits = int((flagged & transactions.fraud).sum())
    precision = hits / max(int(flagged.sum()), 1)
    recall = hits / int(transactions.fraud.sum())
    return AtThreshold(
        threshold=threshold,
        precision=_figure(precision),
        recall=_figure(recall),
        f1=_figure(2 * precision * recall / max(precision + recall, 1e-12)),
        flagged=round(float(flagged.mean()), 5),
        recall_by_scenario={
            name: _figure(flagged[transactions.scenario == key].mean())
            for key, name in SCENARIOS.items()
            if (transactions.scenario == key).any()
        },
    )


def _bins(fraud: npt.NDArray[np.bool_], probability: npt.NDArray[np.float32]) -> list[Bin]:
    """Bins of fixed edges: with rare fraud, bins of equal count would nearly all sit at zero."""
    edges = np.array([0.0, 0.01, 0.03, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0])
    place = np.clip(np.searchsorted(edges, probability, side="right") - 1, 0, len(edges) - 2)
    members = [place == index for index in range(len(edges) - 1)]
    return [
        Bin(_figure(probability[mask].mean()), _figure(fraud[mask].mean()), int(mask.sum()))
        for mask in members
        if mask.any()
    ]


def _card_precision(transactions: Transactions, probability: npt.NDArray[np.float32]) -> tuple[float, float]:
    day = transactions.time_us // DAY_US
    found, best = [], []
    for today in np.unique(day):
        mask = day == today
        cards, place = np.unique(transactions.customer[mask], return_inverse=True)
        highest = np.zeros(len(cards), np.float32)
        np.maximum.at(highest, place, probability[mask])
        compromised = np.zeros(len(cards), np.bool_)
        np.logical_or.at(compromised, place, transactions.fraud[mask])
        top = np.argsort(-highest, kind="stable")[:CARDS_A_DAY]
        found.append(compromised[top].sum() / CARDS_A_DAY)
        best.append(min(int(compromised.sum()), CARDS_A_DAY) / CARDS_A_DAY)
    return float(np.mean(found)), float(np.mean(best))


def _figure(value: float) -> float:
    return round(float(value), 4)
