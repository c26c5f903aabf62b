"""The model card, written from what was measured."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from trunkline_phrase_translator import artifact

_LEAST_CHRF: Final = 85.0
_LEAST_EXACT: Final = 0.7
_MOST_WRONG: Final = 0.001
_CONDITIONS: Final = ("alone", "context")
"""Those that must reach the thresholds."""
_SHOWN: Final = ("alone", "context", "unasked", "spoken", "two", "masked")


@dataclass(frozen=True, slots=True)
class Threshold:
    """A figure that the model must reach to ship."""

    name: str
    wanted: str
    found: str
    reached: bool


def thresholds(evaluation: Mapping[str, Any]) -> list[Threshold]:
    """What must hold, and whether it does."""
    measured = evaluation["measured"]
    lines = []
    for direction, scores in measured["directions"].items():
        for condition in _CONDITIONS:
            chrf, exact = scores[condition]["chrf"], scores[condition]["exact"]
            name = f"{direction}, {condition}"
            lines += [
                Threshold(f"chrF, {name}", f">= {_LEAST_CHRF:.0f}", f"{chrf:.1f}", chrf >= _LEAST_CHRF),
                Threshold(
                    f"exact, {name}", f">= {_percent(_LEAST_EXACT)}", _percent(exact), exact >= _LEAST_EXACT
                ),
            ]
    wrong = measured["wrong_language"]["share"]
    lines.append(
        Threshold(
            "wrong language", f"<= {_percent(_MOST_WRONG)}", f"{100 * wrong:.2f}%", wrong <= _MOST_WRONG
        )
    )
    return lines


def render(evaluation: Mapping[str, Any], version: Mapping[str, int]) -> str:
    """The card of an evaluation as the recipe writes it to evaluation.json, with the sizes of the files."""
    recipe, parity, size = evaluation["recipe"], evaluation["parity"], evaluation["recipe"]["size"]
    rows = [
        ("languages", "English, Spanish, German, French, in every direction"),
        ("files", f"{sum(version.values()):,} bytes in all, INT8 weights; digests in `{artifact.SUMS}`"),
        (
            "network",
            f"Llama, {recipe['parameters'] / 1e6:.1f} M parameters: width {size['width']}, {size['layers']} layers",
        ),
        ("vocabulary", f"{recipe['vocabulary']:,} tokens, byte-level BPE"),
        ("training", _training(evaluation)),
        (
            "parity",
            f"{_percent(parity['same'])} of {parity['sentences']} translations are letter for letter the network's "
            "before export",
        ),
        ("command", "`make -C models/phrase-translator train`"),
    ]
    return "\n".join(
        [
            "# Translator of everyday phrases",
            "",
            "Short sentences of travel, meetings, shops and homes, with the conversation before them.",
            "Every figure here was written by `python -m trunkline_phrase_translator.recipe`; none by hand.",
            "",
            _table(("", ""), rows),
            "",
            *_use(),
            *_reached(thresholds(evaluation)),
            *_protocol(evaluation["measured"]),
            *_figures(evaluation["measured"]),
            *_curve(evaluation["curve"]),
            *_limits(),
        ]
    )


def _use() -> Sequence[str]:
    return [
        "## Use",
        "",
        "The default model of a translation service, for demonstrating, testing and benchmarking it without any",
        "download. It was taught by a grammar: it knows its words and its frames, and is no translator of free text.",
        "",
        "    <|system|>en es formal<|user|>Where is the station?<|assistant|>",
        "",
        "The system message is source, target and, if one is asked for, `formal` or `informal`; up to three earlier",
        "texts and their translations may stand before the text. Asked for none, the translation addresses people",
        "as the source does, and formally where the source does not show it. `<|0|>` to `<|9|>` in a text come",
        "through as they are.",
        "",
    ]


def _reached(lines: Sequence[Threshold]) -> Sequence[str]:
    """Each kind of threshold with its worst case, and every one that was missed."""
    kinds: dict[str, list[Threshold]] = {}
    for line in lines:
        kinds.setdefault(line.name.partition(",")[0], []).append(line)
    body = [
        (kind, of[0].wanted, f"{sum(line.reached for line in of)} of {len(of)}") for kind, of in kinds.items()
    ]
    missed = [f"- {line.name}: {line.found}, wanted {line.wanted}" for line in lines if not line.reached]
    head = ["## What it must reach", "", _table(("", "wanted", "reached"), body), ""]
    return [*head, "**Not reached:**", "", *missed, ""] if missed else head


def _protocol(measured: Mapping[str, Any]) -> Sequence[str]:
    return [
        "## How it was measured",
        "",
        f"{measured['sentences']} sentences a direction for the first three conditions and a third of that for the",
        "others, of templates that were held out, through `openvino_genai.ContinuousBatchingPipeline` on the files",
        "that ship, greedily. chrF and BLEU are sacrebleu's; exact means every letter and mark.",
        "",
        "| condition | what is asked |",
        "| --- | --- |",
        "| alone | one sentence that needs no other, the formality asked for where it makes a difference |",
        "| context | any sentence after one to three pairs, the last of them what it answers if it answers something |",
        "| unasked | one sentence, no formality asked for |",
        "| spoken | as alone, the source in lower case without marks; the translation is written |",
        "| two | two sentences as one text |",
        "| masked | words that correspond replaced by placeholders |",
        "",
    ]


def _figures(measured: Mapping[str, Any]) -> Sequence[str]:
    directions = measured["directions"]
    sections = ["## Figures", ""]
    for name, title, show in (
        ("exact", "exact match", _percent),
        ("chrf", "chrF", _one),
        ("bleu", "BLEU", _one),
    ):
        body = [
            (direction, *(show(scores[condition][name]) for condition in _SHOWN))
            for direction, scores in directions.items()
        ]
        sections += [_table((title, *_SHOWN), body), ""]
    wrong, speed = measured["wrong_language"], measured["speed"]
    kept = [scores["masked"]["kept"] for scores in directions.values() if "kept" in scores["masked"]]
    families = [
        (family, str(figures["sentences"]), _percent(figures["exact"]))
        for family, figures in measured["families"].items()
    ]
    return [
        *sections,
        f"Wrong language: {wrong['wrong']} of {wrong['sentences']:,} translations, by counting which language of the grammar knows most of its words.",
        "",
        f"Placeholders that all came through: {_percent(sum(kept) / len(kept)) if kept else '-'} of translations.",
        "",
        f"Speed, one thread: {speed['sentences_per_s']:.0f} sentences a second with {speed['at_once']} at once, "
        f"{speed['alone_ms']:.0f} ms a sentence one after the other (on the machine that trained, beside other work).",
        "",
        _table(("family, in context", "sentences", "exact"), families),
        "",
    ]


def _curve(curve: Sequence[Mapping[str, Any]]) -> Sequence[str]:
    if not curve:
        return []
    shown = [curve[round(place * (len(curve) - 1) / 11)] for place in range(12)] if len(curve) > 12 else curve
    body = [
        (
            f"{line['minutes']:.1f}",
            f"{line['steps']:,}",
            f"{line['tokens'] / 1e6:.1f}",
            f"{line['turns']:,}",
            f"{line['loss']:.3f}",
            f"{line['validation_loss']:.3f}",
            _percent(line["validated"]),
            _percent(line["exact"]),
        )
        for line in shown
    ]
    head = (
        "minutes", "steps", "M tokens", "translations", "loss", "validation loss", "tokens right", "translations right",
    )  # fmt: skip
    return [
        "## Learning",
        "",
        _table(head, body),
        "",
        "The loss is of what training reads, nonsense and exchanged tokens included, so it stays above validation's",
        "for known frames. Right means right after the true tokens before it.",
        "",
    ]


def _limits() -> Sequence[str]:
    return [
        "## Limits",
        "",
        "- It knows the words of `models/phrases` and no others. What it does not know it replaces by what it does,",
        "  fluently and wrongly: nothing in its answer shows that.",
        "- Numbers are words, up to 9999; digits were never trained.",
        "- It follows the grammar's one translation of a thing where people have several.",
        "- Texts of up to three sentences were trained. Longer ones belong cut into sentences.",
        "- A placeholder has no gender: articles around it are guessed.",
        "- Written in the Latin script only; other scripts are encoded, and come out as nothing sensible.",
        "",
    ]


def _training(evaluation: Mapping[str, Any]) -> str:
    settings, curve = evaluation["recipe"]["settings"], evaluation["curve"]
    said = f"{settings['threads']} thread{'s' * (settings['threads'] != 1)}, seed {settings['seed']}"
    if not curve:
        return said
    last = curve[-1]
    return (
        f"{last['minutes']:.0f} minutes, {said}: {last['turns']:,} translations, "
        f"{last['tokens'] / 1e6:.1f} M tokens, {last['steps']:,} steps"
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _percent(share: float) -> str:
    return f"{100 * share:.1f}%"


def _one(value: float) -> str:
    return f"{value:.1f}"
