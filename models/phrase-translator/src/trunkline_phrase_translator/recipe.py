"""Train the translator: python -m trunkline_phrase_translator.recipe."""

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

import torch
from tokenizers import Tokenizer

from trunkline_phrase_translator import artifact, card, evaluate, export, hugging_face, tokens
from trunkline_phrase_translator.conversations import DIRECTIONS, draw_conversation, render
from trunkline_phrase_translator.held_out import held_out
from trunkline_phrase_translator.model import Size, Translator
from trunkline_phrase_translator.train import Settings, restore, train

SEED: Final = 7
_PARITY: Final = 5
"""Sentences of a direction."""
_LONGEST: Final = 80
_TEXTS: Final = 200
_PACKAGES: Final = (
    "torch", "transformers", "tokenizers", "optimum-intel", "nncf", "openvino", "openvino-genai", "sacrebleu",
)  # fmt: skip

HELP = """\
Learns a tokenizer, trains a decoder-only translator on the grammar's sentences from scratch, writes its weights
in bfloat16 for transformers and vLLM, exports them to INT8 OpenVINO IR, measures that through
ContinuousBatchingPipeline, and writes the version's files, evaluation.json, CARD.md and SHA256SUMS. Training goes
on from the checkpoint in the work directory until its minutes are over. A GPU is used if torch finds one.
"""


@dataclass(frozen=True, slots=True)
class Places:
    """Where what is written goes."""

    work: Path
    artifact: Path
    checkpoint: Path


def main(arguments: Sequence[str] | None = None) -> int:
    """Does what the command line says; returns 1 if the model does not reach its thresholds."""
    parser = argparse.ArgumentParser(
        "python -m trunkline_phrase_translator.recipe",
        description=HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    root = Path(__file__).parents[2]
    parser.add_argument("--minutes", type=float, default=85.0, help="of training (%(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="of training (%(default)s)")
    parser.add_argument("--width", type=int, default=Size().width, help="a multiple of 64 (%(default)s)")
    parser.add_argument("--layers", type=int, default=Size().layers, help="(%(default)s)")
    parser.add_argument(
        "--inner", type=int, default=Size().inner, help="of the feed-forward network (%(default)s)"
    )
    parser.add_argument("--tokens", type=int, default=Settings(0).tokens, help="of a batch (%(default)s)")
    parser.add_argument("--rate", type=float, default=Settings(0).rate, help="of learning (%(default)s)")
    parser.add_argument(
        "--measured", type=int, default=evaluate.SENTENCES, help="sentences a figure (%(default)s)"
    )
    parser.add_argument("--seed", type=int, default=SEED, help="(%(default)s)")
    parser.add_argument("--work", type=Path, default=root / "build", metavar="DIR", help="(%(default)s)")
    parser.add_argument("--out", type=Path, default=root / "artifact", metavar="DIR", help="(%(default)s)")
    parser.add_argument(
        "--checkpoint", type=Path, default=root / "checkpoint", metavar="DIR", help="(%(default)s)"
    )
    parser.add_argument(
        "--only-export",
        action="store_true",
        help="train no more: export and measure what the checkpoint holds",
    )
    chosen = parser.parse_args(arguments)
    if chosen.width % 128:
        parser.error("--width: a multiple of 128")
    size = Size(chosen.width, chosen.layers, chosen.inner)
    settings = Settings(chosen.minutes, chosen.seed, chosen.threads, chosen.tokens, chosen.rate)
    places = Places(chosen.work, chosen.out, chosen.checkpoint)
    evaluation = build(places, size, settings, chosen.measured, only_export=chosen.only_export)
    missed = [line for line in card.thresholds(evaluation) if not line.reached]
    for line in missed:
        print(f"not reached: {line.name} is {line.found}, not {line.wanted}")
    return 1 if missed else 0


def build(
    places: Places, size: Size, settings: Settings, measured: int, *, only_export: bool = False
) -> dict[str, Any]:
    """Trains, exports, measures, writes both directories, and returns the evaluation.

    Raises:
        ValueError: the tokenizers differ, the files are too large, or the checkpoint is of another network.
    """
    places.work.mkdir(parents=True, exist_ok=True)
    learned = places.work / "tokenizer.json"
    if not learned.is_file():
        tokens.learn(settings.seed).save(str(learned))
    tokenizer = tokens.load(learned)
    model, curve = (
        restore(places.work, tokenizer, size)
        if only_export
        else train(places.work, tokenizer, size, settings)
    )
    started = time.monotonic()
    hugging_face.write(model, tokenizer, places.checkpoint)
    export.export(places.checkpoint, places.artifact)
    compared = export.check_tokens(tokenizer, places.artifact, _texts())
    print(f"exported, {time.monotonic() - started:.0f} s", flush=True)
    evaluation: dict[str, Any] = {
        "recipe": {
            "size": asdict(size),
            "parameters": sum(weight.numel() for weight in model.parameters()),
            "settings": asdict(settings),
            "vocabulary": tokenizer.get_vocab_size(),
            "versions": {name: importlib.metadata.version(name) for name in _PACKAGES},
        },
        "curve": [asdict(line) for line in curve],
        "parity": {**parity(model, tokenizer, places.artifact), "texts_tokenised_alike": compared},
        "measured": evaluate.measure(places.artifact, measured),
    }
    (places.artifact / artifact.EVALUATION).write_text(artifact.to_json(evaluation), encoding="utf-8")
    version = {name: (places.artifact / name).stat().st_size for name in artifact.VERSION_FILES}
    (places.artifact / artifact.CARD).write_text(card.render(evaluation, version), encoding="utf-8")
    for place, names in (
        (places.artifact, artifact.VERSION_FILES),
        (places.checkpoint, artifact.CHECKPOINT_FILES),
    ):
        print(f"wrote {artifact.seal(place, names):,} bytes to {place}", flush=True)
    print(f"measured in {time.monotonic() - started:.0f} s", flush=True)
    print(json.dumps(evaluation["measured"]["directions"]), flush=True)
    return evaluation


def parity(model: Translator, tokenizer: Tokenizer, place: Path) -> dict[str, Any]:
    """The share of sentences of which the exported model says exactly what the network says."""
    prompts = [
        render(sentence.direction, (), sentence.source)
        for direction in DIRECTIONS
        for sentence in held_out(
            direction.source, direction.target, _PARITY, part="validation", answers=False
        )
    ]
    said = evaluate.Engine(place).translate(prompts)
    same = [_greedy(model, tokenizer, prompt) == text for prompt, text in zip(prompts, said, strict=True)]
    return {"sentences": len(prompts), "same": round(sum(same) / len(same), 4)}


def _greedy(model: Translator, tokenizer: Tokenizer, prompt: str) -> str:
    ids = tokenizer.encode(prompt).ids
    end, start = tokenizer.token_to_id(tokens.END), len(ids)
    with torch.inference_mode():
        while len(ids) < start + _LONGEST and ids[-1] != end:
            ids.append(int(model.logits(model.hidden(torch.tensor([ids]))[0, -1]).argmax()))
    return str(tokenizer.decode(ids[start:]))


def _texts() -> list[str]:
    """Whole prompts, and what training never met."""
    rng = Random(SEED)
    rendered = []
    for _ in range(_TEXTS):
        direction, turns = draw_conversation(rng, "validation")
        if turns:
            rendered.append(render(direction, turns[:-1], turns[-1].source))
    return [*rendered, "日本 «a» 12,50 €\n\n x  y", "<|3|><|0|> é ñ ß œ 🙂 "]


if __name__ == "__main__":
    sys.exit(main())
