"""The model card, written from what was measured."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from trunkline_whisper_micro import artifact

_NAMES: Final = {"en": "English", "es": "Spanish", "de": "German", "fr": "French"}
_WORST_WER: Final = {"en": 0.05}
_WORST_OTHER_WER: Final = 0.08
_FEWEST_DETECTED: Final = 0.98


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
    for language, figures in measured["languages"].items():
        worst = _WORST_WER.get(language, _WORST_OTHER_WER)
        wer = figures["noise"]["wer"]
        lines.append(
            Threshold(
                f"word error rate, {_NAMES[language]}", f"<= {_percent(worst)}", _percent(wer), wer <= worst
            )
        )
    words = measured["silence"]["words"]
    lines.append(
        Threshold(
            f"words in {measured['silence']['minutes']:.0f} minutes without speech",
            "0",
            str(words),
            words == 0,
        )
    )
    detected = measured["language"]
    lines.append(
        Threshold(
            "language detected",
            f">= {_percent(_FEWEST_DETECTED)}",
            _percent(detected),
            detected >= _FEWEST_DETECTED,
        )
    )
    return lines


def render(evaluation: Mapping[str, Any], version: Mapping[str, int]) -> str:
    """The card of an evaluation as the recipe writes it to evaluation.json, with the sizes of the files."""
    recipe, parity = evaluation["recipe"], evaluation["parity"]
    size = recipe["size"]
    rows = [
        ("languages", ", ".join(_NAMES[language] for language in recipe["languages"])),
        ("files", f"{sum(version.values()):,} bytes in all, INT8 weights; digests in `{artifact.SUMS}`"),
        (
            "network",
            f"Whisper, {recipe['parameters'] / 1e6:.1f} M parameters: width {size['width']}, "
            f"{size['encoder_layers']} encoder and {size['decoder_layers']} decoder layers",
        ),
        ("window", f"{recipe['window_s']:.0f} s, time stamps every 0.02 s"),
        ("vocabulary", f"{recipe['vocabulary']:,} tokens"),
        ("trained on", f"{recipe['clips']:,} clips, {recipe['hours']:,} h, synthetic"),
        ("training", _training(evaluation)),
        (
            "parity",
            f"{_percent(parity['same'])} of {parity['clips']} transcripts are word for word the network's before export",
        ),
        ("command", "`make -C models/whisper-micro train`"),
    ]
    return "\n".join(
        [
            "# Speech recogniser of everyday phrases",
            "",
            "Short sentences of travel, meetings, numbers, dates and commands, as text with times.",
            "Every figure here was written by `python -m trunkline_whisper_micro.recipe`; none by hand.",
            "",
            _table(("", ""), rows),
            "",
            *_use(),
            *_thresholds(thresholds(evaluation)),
            *_protocol(evaluation["measured"]),
            *_figures(evaluation),
            *_curve(evaluation["curve"]),
            *_limits(recipe),
        ]
    )


def _use() -> Sequence[str]:
    return [
        "## Use",
        "",
        "The default model of a live recognition service, for demonstrating, testing and benchmarking it without",
        "any download. It was taught by a synthesiser and a grammar: it knows their words and their voices, and",
        "is no recogniser of free speech.",
        "",
    ]


def _thresholds(lines: Sequence[Threshold]) -> Sequence[str]:
    body = [(line.name, line.wanted, line.found, "yes" if line.reached else "**no**") for line in lines]
    return ["## What it must reach", "", _table(("", "wanted", "found", "reached"), body), ""]


def _protocol(measured: Mapping[str, Any]) -> Sequence[str]:
    return [
        "## How it was measured",
        "",
        f"{measured['clips']} clips a language and a condition, through `openvino_genai.WhisperPipeline` on the files",
        "that ship, one thread, the language not given. Word error rates are of spoken forms (lower case, no",
        "punctuation), by jiwer, over all words.",
        "",
        "| condition | sentences | voices and speeds | sound |",
        "| --- | --- | --- | --- |",
        "| test | of templates held out | held out | an engine, never heard in training, 10 to 30 dB below the speech; every other clip in a room |",
        "| clean | of templates held out | held out | nothing added |",
        "| cut off | those of the test, ended anywhere | held out | as in the test; a word counts if it is whole |",
        "| heard | of training templates | of training | as in training: noises, rooms, telephones, clipping, cuts |",
        "",
        "Ten minutes without speech are silence, every noise of training, music, and two sounds that training",
        "never hears (an engine, bells), at all levels.",
        "",
    ]


def _figures(evaluation: Mapping[str, Any]) -> Sequence[str]:
    languages = evaluation["measured"]["languages"]
    errors: list[tuple[str, ...]] = []
    seconds: list[tuple[str, ...]] = []
    for language, figures in languages.items():
        errors.append(
            (
                _NAMES[language],
                *(_percent(figures[name]["wer"]) for name in ("noise", "clean", "cut", "heard")),
                _percent(figures["noise"]["sentences_right"]),
                _percent(figures["language"]),
                f"{figures['templates']} / {figures['voices']}",
            )
        )
        times = figures["times"]
        if times is None:
            seconds.append((_NAMES[language], "the pipeline crashed", "", "", "", ""))
            continue
        segments, words = times["segments"], times["words"]
        seconds.append(
            (
                _NAMES[language],
                f"{segments['found']} of {segments['of']}",
                *(_seconds(segments[name]) for name in ("start_s", "end_s")),
                *(_seconds(words[name]) for name in ("start_s", "end_s")),
            )
        )
    silence = evaluation["measured"]["silence"]
    spoken = [f"{kind} {words}" for kind, words in silence["by_kind"].items() if words]
    return [
        "## Figures",
        "",
        _table(
            (
                "word error rate",
                "test",
                "clean",
                "cut off",
                "heard",
                "sentences right",
                "language",
                "templates / voices",
            ),
            errors,
        ),
        "",
        f"Words where nobody speaks: {silence['words']} in {silence['minutes']:.0f} minutes"
        + (f" ({', '.join(spoken)})." if spoken else "."),
        "",
        _table(
            ("median distance", "found as one segment", "its start", "its end", "a word's start", "its end"),
            seconds,
        ),
        "",
        f"Word times come from the decoder's attention: its best head looks at the word it says "
        f"{_percent(evaluation['alignment']['looks_at_its_word'])} of the time.",
        "",
    ]


def _curve(curve: Sequence[Mapping[str, Any]]) -> Sequence[str]:
    if not curve:
        return []
    shown = [curve[round(place * (len(curve) - 1) / 9)] for place in range(10)] if len(curve) > 10 else curve
    body = [
        (
            f"{line['minutes']:.1f}",
            f"{line['steps']:,}",
            f"{line['hours_heard']:.1f}",
            f"{line['token_loss']:.3f}",
            f"{line['character_loss']:.3f}",
            _percent(line["validated"]),
        )
        for line in shown
    ]
    return [
        "## Learning",
        "",
        _table(
            ("minutes", "steps", "hours heard", "token loss", "character loss", "validation tokens right"),
            body,
        ),
        "",
    ]


def _limits(recipe: Mapping[str, Any]) -> Sequence[str]:
    unknown = [name for language, name in _NAMES.items() if language not in recipe["languages"]]
    return [
        "## Limits",
        "",
        "- All speech it ever heard is eSpeak NG's. People, and other synthesisers, sound otherwise.",
        "- It knows the words of `models/phrases` and no others; what it does not know it hears as what it does.",
        "- One language a window, one voice a window.",
        *([f"- {' and '.join(unknown)}: there are tokens, but nothing was learned."] if unknown else []),
        "- Translation has a token because pipelines want one; it was not trained.",
        "- Hints (`hotwords`, `initial_prompt`) were trained lightly: they do not disturb, and promise no more.",
        "  With the transcript they must fit the decoder's 192 places, or the pipeline ends the process.",
        "- What is cut off is heard up to the last whole word.",
        "",
    ]


def _training(evaluation: Mapping[str, Any]) -> str:
    settings, curve = evaluation["recipe"]["settings"], evaluation["curve"]
    heard = f", {curve[-1]['hours_heard']:.0f} h heard in {curve[-1]['steps']:,} steps" if curve else ""
    return f"{settings['minutes']:g} minutes, {settings['threads']} threads, seed {settings['seed']}{heard}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _percent(share: float) -> str:
    return f"{100 * share:.1f}%"


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} s"
