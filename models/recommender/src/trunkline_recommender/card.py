"""The model card, written from what was measured."""

from collections.abc import Mapping, Sequence
from typing import Any

from trunkline_artifact import SUMS
from trunkline_recommender import artifact, ranker
from trunkline_recommender.content import WIDTH
from trunkline_recommender.evaluate import CANDIDATES, TOP
from trunkline_recommender.newcomers import FEWEST_READERS
from trunkline_recommender.preview import READERS
from trunkline_recommender.split import ELIGIBLE_LIKED, HELD_OUT

_SYSTEMS = {
    "chance": "any order",
    "popularity": "popularity",
    "item_knn": "item-kNN",
    "two_tower": "two towers",
    "two_tower_ranker": "two towers and ranker",
}


def render(evaluation: Mapping[str, Any], files: Mapping[str, bytes]) -> str:
    """The card of an evaluation as `train` writes it to evaluation.json, in Markdown."""
    simulator, data = evaluation["simulator"], evaluation.get("data")
    parameters = simulator["parameters"]
    rows = [
        ("files", f"{sum(map(len, files.values())):,} bytes in all; digests in `{SUMS}`"),
        ("retrieval", f"two towers of {parameters['dimension']} dimensions, inner product"),
        ("ranker", f"gradient-boosted trees (XGBoost {evaluation['recipe']['xgboost']}, hist)"),
        ("parity", _parity(simulator["parity"])),
        ("trained on", "the simulator only"),
        ("command", "`python -m trunkline_recommender.train --data DIR`"),
    ]
    return "\n".join(
        [
            "# Book recommender",
            "",
            "Which books a reader will like, from the books the reader rated.",
            "Every figure here was written by `python -m trunkline_recommender.train`; none by hand.",
            "",
            _table(("", ""), rows),
            "",
            *_use(),
            *_data(simulator, data),
            *_protocol(),
            *_figures(simulator, data),
            *_new(simulator["findability"]),
            *_choice(simulator, data),
            *_limits(),
        ]
    )


def _use() -> Sequence[str]:
    return [
        "## Use",
        "",
        "Meant for demonstrating, testing and benchmarking a recommendation service, and as the recipe with",
        "which to train on one's own ratings. The readers, the books, their titles and authors are invented.",
        "",
    ]


def _data(simulator: Mapping[str, Any], data: Mapping[str, Any] | None) -> Sequence[str]:
    parts = [("simulator (shipped)", simulator), ("simulator, other readers", simulator["strangers"])]
    if data:
        parts.append(("recorded ratings (separate model)", data))
    names = ("readers", "books", "ratings", "known", "eligible")
    body = [(name, *(f"{part['counts'][count]:,}" for count in names)) for name, part in parts]
    return [
        "## Data",
        "",
        f"The simulator's readers take up books over {simulator['days']} days, by taste and by what is popular,",
        "and rate them. Other readers live in the same world; training never saw them. They have no part in",
        "the catalogue's counts either.",
        "",
        *(
            [
                "The second training is the same recipe on goodbooks-10k (`--data DIR`): real readers, real",
                "stars, no times. Its model is its own, and is not shipped.",
            ]
            if data
            else ["No other data was measured; `--data DIR` adds it."]
        ),
        "",
        _table(("", "readers", "books", "ratings", "of them known at test", "eligible readers"), body),
        "",
    ]


def _protocol() -> Sequence[str]:
    return [
        "## How it was measured",
        "",
        f"Leave-{HELD_OUT}-out. Eligible are readers who liked (4 or 5 stars) {ELIGIBLE_LIKED} books or more. The",
        f"last {HELD_OUT} of these are the test books, the {HELD_OUT} before them the validation books. A reader's",
        "history is what came before the first held-out book; what came after it and is not held out is set",
        "aside. Time is each reader's own: other readers' later ratings are learned from. Ratings without",
        "times are put in an order drawn from the seed, so there the books are held out at random.",
        "",
        "Towers that saw nothing from the first validation book on are compared on the validation books",
        f"(NDCG@{TOP}), and the best choice's {CANDIDATES} candidates, labelled by the validation books, are what the",
        "ranker learns from. Then the towers are fitted anew on all that came before the test books, and the",
        "test books are looked at once, through the ONNX graphs. What is not among the choices below, such as what",
        "stars weigh and how deep trees are, was settled beforehand, on other splits of the same ratings: those may share",
        "books with the test, so its figures are a little kind.",
        "",
        "Every book that is not in the reader's history is a candidate, those set aside too.",
        f"NDCG@{TOP} has binary gains and the ideal of all {HELD_OUT} on top; recall@{CANDIDATES} is the share of the",
        f"{HELD_OUT} among the first {CANDIDATES}, which the ranker reorders and so leaves as it is; coverage the share of",
        f"the catalogue in anybody's first {TOP}. Popularity counts the readers who liked a book; item-kNN",
        "sums the cosines to the liked books. A reader's unread favourites count as misses, as always with",
        "ratings that readers chose to give.",
        "",
    ]


def _figures(simulator: Mapping[str, Any], data: Mapping[str, Any] | None) -> Sequence[str]:
    parts = [
        ("Simulator, test books", simulator["test"]),
        ("Simulator, other readers", simulator["strangers"]),
    ]
    if data:
        parts.append(("Recorded ratings, test books", data["test"]))
    lines = ["## Figures", ""]
    for name, part in parts:
        base = part["popularity"]["ndcg"]
        body = [
            (
                label,
                f"{part[system]['ndcg']:.3f} ± {part[system]['ndcg_error']:.3f}",
                f"{part[system]['ndcg'] / base:.2f}" if base else "",
                f"{part[system]['recall']:.3f}",
                f"{part[system]['coverage']:.1%}",
            )
            for system, label in _SYSTEMS.items()
            if system in part
        ]
        header = (name, f"NDCG@{TOP} ± standard error", "x popularity", f"recall@{CANDIDATES}", "coverage")
        lines += [_table(header, body), ""]
    return lines


def _new(figures: Mapping[str, Any]) -> Sequence[str]:
    return [
        "## New books",
        "",
        f"{figures['books']} books came out near the end; nothing was learned of them, and they are not in",
        f"`{artifact.ITEMS}`. The item tower places them by author, series, genre, tags, language and period,",
        f"hashed to {WIDTH} columns. Added to the index:",
        "",
        _table(
            ("", "item tower", "any order"),
            [
                (
                    f"{figures['likings']:,} likings: the book is among the reader's first {CANDIDATES}",
                    f"{figures['recall']:.3f}",
                    f"{figures['recall_of_chance']:.3f}",
                ),
                (
                    f"ROC AUC, readers who liked it against readers who did not read it, mean over books that "
                    f"{FEWEST_READERS} liked",
                    f"{figures['auc']:.3f}",
                    "0.500",
                ),
            ],
        ),
        "",
        f"`{artifact.PREVIEW}` holds them, with {READERS} of the other readers, to show this live.",
        "",
    ]


def _choice(simulator: Mapping[str, Any], data: Mapping[str, Any] | None) -> Sequence[str]:
    lines = [
        "## What was chosen, and on what",
        "",
        "The towers are a closed form: no gradient step is taken. NDCG of the candidates on validation books:",
        "",
    ]
    for name, part in (("simulator", simulator), ("recorded ratings", data)):
        if part is None:
            continue
        tried = part["chosen_from"]
        names = [key for key in tried[0] if key != "validation_ndcg"]
        body = [
            (
                *(f"{one[key]:g}" for key in names),
                f"{one['validation_ndcg']:.3f}",
                "chosen" if all(one[key] == part["parameters"][key] for key in names) else "",
            )
            for one in tried
        ]
        header = [*(key.replace("_", " ") for key in names), f"NDCG@{TOP}", name]
        lines += [_table(header, body), ""]
    found = [
        f"{part['ranker']['liked']:,} of {part['ranker']['candidates']:,} ({name})"
        for name, part in (("simulator", simulator), ("recorded ratings", data))
        if part is not None
    ]
    return [*lines, f"Candidates the ranker learned from, of them liked: {'; '.join(found)}.", ""]


def _limits() -> Sequence[str]:
    return [
        "## Limits",
        "",
        "- The simulator's figures say how well the recipe finds the simulator's tastes; the recorded ratings",
        "  are of readers who rated many books.",
        "- Readers are known by what they rated. One without a rating gets the popular list.",
        "- The ranker's probability is that a book is among the next ones that the reader likes, not that a",
        "  reader who is made to read it will like it. It was learned from candidates without exploration.",
        "- A history keeps its newest books only; older ones live on in the reader's features. Of a book with",
        f"  no features the ranker was taught to expect anything ({ranker.UNKNOWN:.0%} of its rows).",
        "- Popular books are shown more, then read more: the recipe does not undo that.",
        "- No personal attribute is a feature, and no fairness was measured: simulated people have none.",
        "",
    ]


def _parity(figures: Mapping[str, float]) -> str:
    each = ", ".join(f"{name.replace('_', ' ')} {value:.1e}" for name, value in figures.items())
    return f"largest difference, relative to the largest value, of graph and original: {each}"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
