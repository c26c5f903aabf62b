"""Train the recogniser: python -m trunkline_whisper_micro.recipe."""

import argparse
import importlib.metadata
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Any, Final

from trunkline_phrases import LANGUAGES, Language
from trunkline_whisper_micro import artifact, card, clips, corpus, evaluate, export, listen, tokens
from trunkline_whisper_micro.clips import WINDOW_S
from trunkline_whisper_micro.corpus import SHARD, Corpus, Plan
from trunkline_whisper_micro.espeak import espeak
from trunkline_whisper_micro.model import Size
from trunkline_whisper_micro.train import Settings, train

SEED: Final = 7
_PARITY_CLIPS: Final = 60
_ALIGNED_CLIPS: Final = 60
_PACKAGES: Final = ("torch", "transformers", "optimum-intel", "nncf", "openvino", "openvino-genai", "jiwer")

HELP = """\
Synthesises speech with eSpeak NG, trains a Whisper on it from scratch, exports it to INT8 OpenVINO IR, checks
and measures that through WhisperPipeline, and writes the version's files, evaluation.json, CARD.md and
SHA256SUMS. What was done before in the same work directory is not done again: clips that are there are kept,
and training goes on from its checkpoint until its minutes are over. A GPU is used if torch finds one.
"""


@dataclass(frozen=True, slots=True)
class Recipe:
    """What is done."""

    languages: tuple[Language, ...]
    clips: int
    """A language, to train on."""
    size: Size
    settings: Settings
    measured: int
    """Clips of a language and a condition."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Does what the command line says; returns 1 if the model does not reach its thresholds."""
    parser = argparse.ArgumentParser(
        "python -m trunkline_whisper_micro.recipe",
        description=HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    root = Path(__file__).parents[2]
    parser.add_argument("--minutes", type=float, default=30.0, help="of training (%(default)s)")
    parser.add_argument("--languages", nargs="+", choices=LANGUAGES, default=["en", "es"], metavar="LANGUAGE")
    parser.add_argument("--clips", type=int, default=45_000, help="a language, to train on (%(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="of training (%(default)s)")
    parser.add_argument("--workers", type=int, default=1, help="processes that synthesise (%(default)s)")
    parser.add_argument("--width", type=int, default=Size().width, help="a multiple of 64 (%(default)s)")
    parser.add_argument("--encoder-layers", type=int, default=Size().encoder_layers, help="(%(default)s)")
    parser.add_argument("--decoder-layers", type=int, default=Size().decoder_layers, help="(%(default)s)")
    parser.add_argument("--frames", type=int, default=Settings(0).frames, help="of a batch (%(default)s)")
    parser.add_argument("--rate", type=float, default=Settings(0).rate, help="of learning (%(default)s)")
    parser.add_argument("--measured", type=int, default=evaluate.CLIPS, help="clips a figure (%(default)s)")
    parser.add_argument("--seed", type=int, default=SEED, help="(%(default)s)")
    parser.add_argument("--work", type=Path, default=root / "build", metavar="DIR", help="(%(default)s)")
    parser.add_argument("--out", type=Path, default=root / "artifact", metavar="DIR", help="(%(default)s)")
    parser.add_argument("--only-clips", action="store_true", help="stop when the clips are there")
    chosen = parser.parse_args(arguments)
    if chosen.clips % SHARD:
        parser.error(f"--clips: a multiple of {SHARD}")
    if chosen.width % 64:
        parser.error("--width: a multiple of 64")
    recipe = Recipe(
        tuple(chosen.languages),
        chosen.clips,
        Size(chosen.width, chosen.width // 64, chosen.encoder_layers, chosen.decoder_layers),
        Settings(chosen.minutes, chosen.seed, chosen.threads, chosen.frames, chosen.rate),
        chosen.measured,
    )
    plan = prepare(chosen.work, recipe, chosen.workers)
    if chosen.only_clips:
        return 0
    evaluation = build(chosen.work, chosen.out, plan, recipe)
    missed = [line for line in card.thresholds(evaluation) if not line.reached]
    for line in missed:
        print(f"not reached: {line.name} is {line.found}, not {line.wanted}")
    return 1 if missed else 0


def prepare(work: Path, recipe: Recipe, workers: int) -> Plan:
    """Learns the tokenizer and synthesises the clips, but for what is there."""
    work.mkdir(parents=True, exist_ok=True)
    vocabulary = work / "tokens.json"
    if not vocabulary.is_file():
        # Of all languages, whichever are trained: clips of more can be added later.
        vocabulary.write_text(tokens.learn_from_phrases(LANGUAGES, WINDOW_S).to_json(), encoding="utf-8")
    plan = Plan(recipe.settings.seed, tokens.Tokens.from_json(vocabulary.read_text(encoding="utf-8")))
    corpus.make(work / "clips", plan, recipe.languages, recipe.clips // SHARD, workers)
    return plan


def build(work: Path, out: Path, plan: Plan, recipe: Recipe) -> dict[str, Any]:
    """Trains, exports, measures, writes the artefact to `out`, and returns its evaluation.

    Raises:
        ValueError: the tokenizers differ, or the files are too large.
    """
    heard = Corpus(work / "clips", recipe.languages, recipe.clips // SHARD)
    validation = Corpus(work / "clips", recipe.languages, 1, "validation")
    model, curve = train(work, heard, validation, plan.tokens, recipe.size, recipe.settings)
    started = time.monotonic()
    held_out = _held_out(recipe.languages, "validation", _ALIGNED_CLIPS)
    heads, looked = listen.alignment_heads(model, plan.tokens, held_out)
    out.mkdir(parents=True, exist_ok=True)
    export.export(model, plan.tokens, heads, out)
    signature = artifact.signature(recipe.languages, plan.tokens.window_s)
    (out / artifact.SIGNATURE).write_text(artifact.to_json(signature), encoding="utf-8")
    compared = export.check_tokens(plan.tokens, [(clip.language, clip.text) for clip in held_out])
    print(f"exported, {time.monotonic() - started:.0f} s", flush=True)
    same = evaluate.parity(
        evaluate.Listener(out),
        lambda clip: listen.transcribe(model, plan.tokens, clip),
        _held_out(recipe.languages, "validation", _PARITY_CLIPS),
    )
    evaluation = {
        "recipe": {
            "languages": list(recipe.languages),
            "clips": len(heard),
            "hours": round(heard.hours, 1),
            "size": asdict(recipe.size),
            "parameters": sum(parameter.numel() for parameter in model.whisper.parameters()),
            "settings": asdict(recipe.settings),
            "vocabulary": plan.tokens.size,
            "window_s": plan.tokens.window_s,
            "versions": {name: importlib.metadata.version(name) for name in _PACKAGES},
        },
        "curve": [asdict(line) for line in curve],
        "alignment": {"heads": heads, "looks_at_its_word": round(looked, 4)},
        "parity": {"clips": _PARITY_CLIPS, "same": same, "texts_tokenised_alike": compared},
        "measured": evaluate.measure(out, recipe.languages, espeak(), recipe.measured),
    }
    (out / artifact.EVALUATION).write_text(artifact.to_json(evaluation), encoding="utf-8")
    version = {name: (out / name).stat().st_size for name in artifact.VERSION_FILES}
    (out / artifact.CARD).write_text(card.render(evaluation, version), encoding="utf-8")
    size = artifact.seal(out)
    print(f"wrote {size:,} bytes to {out}, measured in {time.monotonic() - started:.0f} s", flush=True)
    print(json.dumps(evaluation["measured"]), flush=True)
    return evaluation


def _held_out(languages: Sequence[Language], part: Any, count: int) -> list[clips.Clip]:
    rng = Random(part)
    return [
        clips.draw_held_out(rng, languages[place % len(languages)], part, espeak()) for place in range(count)
    ]


if __name__ == "__main__":
    sys.exit(main())
