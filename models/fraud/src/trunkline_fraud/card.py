"""The model card, written from what was measured."""

from collections.abc import Mapping, Sequence
from typing import Any

from trunkline_fraud.evaluate import CARDS_A_DAY
from trunkline_fraud.features import DERIVED, INPUTS
from trunkline_fraud.recipe import DECLINE_PRECISION, FORGOTTEN
from trunkline_fraud.windows import LABEL_DELAY_DAYS


def render(evaluation: Mapping[str, Any], model_digest: str, model_bytes: int) -> str:
    """The card of an evaluation as `train` writes it to evaluation.json, in Markdown."""
    simulator, data = evaluation["simulator"], evaluation.get("data")
    fresh = simulator["fresh_roc_auc"]
    columns = [("simulator, test days", simulator["test"])]
    columns.append(("simulator, another population", simulator["fresh_population"]))
    columns.append(("simulator, feature store away", simulator["without_store"]))
    if data:
        columns.append(("public data set, test days", data["test"]))
        columns.append(("public data set, feature store away", data["without_store"]))
    return "\n".join(
        [
            "# Card fraud scorer",
            "",
            "The probability that a card transaction is fraudulent, at the moment of its authorisation.",
            "Every figure here was written by `python -m trunkline_fraud.train`; none by hand.",
            "",
            _table(
                ("", ""),
                [
                    ("file", f"`model.onnx`, {model_bytes:,} bytes, SHA-256 `{model_digest}`"),
                    ("input", f"`features`, float32 [N, {len(INPUTS)}]"),
                    ("output", "`probability`, float32 [N]"),
                    ("method", f"gradient-boosted trees (XGBoost {evaluation['recipe']['xgboost']}, hist)"),
                    (
                        "parity",
                        f"graph and XGBoost differ by at most {simulator['parity']:.1e} on the test days",
                    ),
                    ("trained on", "the simulator only"),
                    ("command", "`python -m trunkline_fraud.train --data DIR`"),
                ],
            ),
            "",
            *_use(),
            *_data(simulator, data),
            *_features(),
            "## Figures",
            "",
            _figures(columns),
            "",
            f"Decline is the lowest threshold with a validation precision of {DECLINE_PRECISION} or more; review",
            "the one with the highest validation F2 (recall weighs twice), never above decline. The thresholds",
            "in `signature.json` are the simulator's. Card precision is the share of cards with fraud among the",
            f"{CARDS_A_DAY} highest-scored cards of a day; best is what a perfect ranking would reach.",
            "",
            f"ROC AUC on {len(fresh)} other populations of the same size: "
            f"{', '.join(format(auc, '.3f') for auc in fresh)}. Differences of that size are chance.",
            "",
            "### Calibration, simulator, test days",
            "",
            _calibration(simulator["test"]["calibration"]),
            "",
            *_limits(),
        ]
    )


def _use() -> Sequence[str]:
    return [
        "## Use",
        "",
        "Meant for demonstrating, testing and benchmarking a scoring service, and as the recipe with which",
        "to train on one's own transactions. Not meant for deciding about real payments: it has never seen",
        "one.",
        "",
    ]


def _data(simulator: Mapping[str, Any], data: Mapping[str, Any] | None) -> Sequence[str]:
    rows = [("simulator (shipped)", simulator)]
    if data:
        rows.append(("public data set (separate model)", data))
    population = simulator["population"]
    lines = [
        "## Data",
        "",
        f"The simulator draws {population['customers']:,} customers and {population['terminals']:,} terminals "
        f"over {population['days']} days (seed {simulator['seed']}).",
        "Fraud: single large amounts, terminals compromised for 14 to 42 days, cards compromised for 7 to 21",
        "days. Another population is the same simulation with another seed: no customer or terminal of it",
        "was seen in training.",
        "",
    ]
    if data:
        lines += [
            "The second training is the same recipe on the simulated public data set of the fraud-detection",
            "handbook (`--data DIR`). Its model and thresholds are its own, and are not shipped.",
            "",
        ]
    else:
        lines += ["No other data was measured; `--data DIR` adds it.", ""]
    header = ("", "transactions trained on", "of it fraud", "days: warm-up / train / gap / validation / test")
    body = [
        (
            name,
            f"{part['training_count']:,}",
            f"{part['training_frauds'] / part['training_count']:.2%}",
            " / ".join(str(days) for days in part["split"].values()),
        )
        for name, part in rows
    ]
    return [
        *lines,
        _table(header, body),
        "",
        f"The split is by time. The gap of {LABEL_DELAY_DAYS} days is the label delay: what would not have been",
        "known on the first day of validation is not trained on.",
        "",
    ]


def _features() -> Sequence[str]:
    return [
        "## Features",
        "",
        *[f"- `{name}`" for name in INPUTS],
        "",
        f"The graph derives two more from them: {' and '.join(DERIVED)}.",
        "Rows of the store are as of the entity's last event, in training as in serving. Defaults",
        "(`signature.json`) are what a new entity has: counts and risks 0, amounts the training rows' median;",
        f"{FORGOTTEN:.0%} of the training rows had each view's row replaced by them.",
        "",
    ]


def _figures(columns: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
    scenarios = sorted({name for _, part in columns for name in part["decline"]["recall_by_scenario"]})

    def row(name: str, *path: str, form: str = ".3f") -> tuple[str, ...]:
        cells = []
        for _, part in columns:
            value: Any = part
            for step in path:
                value = value.get(step) if value is not None else None
            cells.append("" if value is None else format(value, form))
        return (name, *cells)

    rows = [
        row("transactions", "count", form=","),
        row("of it fraudulent", "frauds", form=","),
        row("ROC AUC", "roc_auc"),
        row("average precision", "average_precision"),
    ]
    for threshold in ("decline", "review"):
        rows += [
            row(f"{threshold}: threshold", threshold, "threshold", form=".4f"),
            row(f"{threshold}: precision", threshold, "precision"),
            row(f"{threshold}: recall", threshold, "recall"),
            row(f"{threshold}: F1", threshold, "f1"),
            row(f"{threshold}: share flagged", threshold, "flagged", form=".2%"),
        ]
        rows += [
            row(f"{threshold}: recall, {name}", threshold, "recall_by_scenario", name) for name in scenarios
        ]
    rows += [
        row("Brier score", "brier", form=".5f"),
        row("Brier score of the base rate", "brier_of_base_rate", form=".5f"),
        row("expected calibration error", "calibration_error", form=".4f"),
        row(f"card precision@{CARDS_A_DAY}", "card_precision"),
        row(f"card precision@{CARDS_A_DAY}, best", "card_precision_best"),
    ]
    return _table(("", *(name for name, _ in columns)), rows)


def _calibration(bins: Sequence[Mapping[str, Any]]) -> str:
    rows = [(f"{part['predicted']:.4f}", f"{part['observed']:.4f}", f"{part['count']:,}") for part in bins]
    return _table(("mean probability", "share of fraud", "transactions"), rows)


def _limits() -> Sequence[str]:
    return [
        "## Limits",
        "",
        "- The figures say how well the recipe finds the simulator's frauds. Real fraud adapts, and has more",
        "  shapes than three.",
        f"- A terminal's first {LABEL_DELAY_DAYS} compromised days cannot be seen: the amounts are ordinary and",
        "  the labels have not arrived. That bounds the recall of this scenario.",
        "- Thresholds and calibration hold for the share of fraud trained on. Where fraud is denser, as in the",
        "  demonstration, precision is higher; where it is rarer, lower.",
        "- Every label arrives, and after the same delay. In practice many never do.",
        "- Amounts are in one currency, hours in UTC, and the public data set's time zone is taken as UTC.",
        "- Without the feature store only the amount and the hour are left: large amounts are still found,",
        "  the rest hardly.",
        "- No personal attribute is a feature, and no fairness was measured: simulated people have none.",
        "",
    ]


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
