"""Training on a corpus, for as many minutes as there are, from where it stopped."""

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Any, Final

import numpy as np
import torch
from torch import nn

from trunkline_whisper_micro.corpus import Corpus
from trunkline_whisper_micro.labels import PROMPTED, STAMPED
from trunkline_whisper_micro.mel import BANDS
from trunkline_whisper_micro.model import CTC_WEIGHT, IGNORED, TARGET, Batch, Recogniser, Size, configure
from trunkline_whisper_micro.tokens import Tokens

_CEILINGS: Final = (160, 224, 288, 352, 448, 576, 800)
"""Frames to which the clips of a batch are filled up."""
_WHOLE: Final = 0.1
"""Batches that fill the window, as a pipeline does, until the last part of the time, when all do."""
_LAST: Final = 0.06
_WARM: Final = 0.03
_CLIP: Final = 1.0


@dataclass(frozen=True, slots=True)
class Settings:
    """How to train."""

    minutes: float
    seed: int = 7
    threads: int = 1
    frames: int = 8_000
    """Frames of the spectrogram in a batch, 100 a second."""
    rate: float = 2e-3
    decay: float = 0.05
    """Of the weights."""
    report_s: float = 30.0
    checkpoint_s: float = 120.0


@dataclass(frozen=True, slots=True)
class Progress:
    """A line of the learning curve."""

    minutes: float
    steps: int
    hours_heard: float
    token_loss: float
    character_loss: float
    validated: float
    """The share of tokens, each after the true ones before it, that are right in clips of the validation split."""


def train(
    place: Path, corpus: Corpus, validation: Corpus, tokens: Tokens, size: Size, settings: Settings
) -> tuple[Recogniser, list[Progress]]:
    """Trains, or goes on from `place`/checkpoint.pt; minutes spent before count.

    Raises:
        ValueError: the checkpoint is of another network or vocabulary.
    """
    torch.manual_seed(settings.seed)
    torch.set_num_threads(settings.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = Recogniser(configure(tokens, size))
    model.modules.to(device)
    optimizers = _optimizers(model, settings)
    rng = Random(settings.seed)
    curve: list[Progress] = []
    spent_s, steps, heard = 0.0, 0, 0
    checkpoint = place / "checkpoint.pt"
    described = {"size": asdict(size), "tokens": tokens.to_json()}
    if checkpoint.is_file():
        state = torch.load(checkpoint, map_location=device, weights_only=True)
        if state["described"] != described:
            raise ValueError(f"{checkpoint} is of another network or vocabulary")
        model.modules.load_state_dict(state["model"])
        for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        curve = [Progress(**line) for line in state["curve"]]
        spent_s, steps, heard = state["spent_s"], state["steps"], state["heard"]
        rng.seed(f"{settings.seed} {steps}")

    def save() -> None:
        state = {
            "described": described,
            "model": model.modules.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in optimizers],
            "curve": [asdict(line) for line in curve],
            "spent_s": spent_s,
            "steps": steps,
            "heard": heard,
        }
        unfinished = checkpoint.with_suffix(".part")
        torch.save(state, unfinished)
        unfinished.replace(checkpoint)

    watched = assemble(validation, tokens, range(len(validation)), _CEILINGS[-1], Random(settings.seed))
    budget_s = settings.minutes * 60
    started = time.monotonic() - spent_s
    reported = saved_at = spent_s
    losses: list[tuple[float, float]] = []
    model.modules.train()
    for ceiling, chosen in _endless(corpus, rng, settings.frames):
        part = min(spent_s / budget_s, 1.0)
        if part >= 1.0:
            break
        whole = part > 1 - _LAST or rng.random() < _WHOLE
        length = _CEILINGS[-1] if whole else ceiling
        batch = assemble(corpus, tokens, chosen[: max(1, settings.frames // length)], length, rng)
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = settings.rate * group["scale"] * _schedule(part)
            optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device.type, torch.bfloat16):
            spoken, characters = model.losses(_to(batch, device))
        (spoken + CTC_WEIGHT * characters).backward()
        nn.utils.clip_grad_norm_(model.modules.parameters(), _CLIP)
        for optimizer in optimizers:
            optimizer.step()
        losses.append((float(spoken.detach()), float(characters.detach())))
        steps += 1
        heard += int(batch.frame_lengths.sum())
        spent_s = time.monotonic() - started
        if spent_s - reported >= settings.report_s:
            reported = spent_s
            token_loss, character_loss = np.mean(losses, axis=0).round(4).tolist()
            curve.append(
                Progress(
                    minutes=round(spent_s / 60, 2),
                    steps=steps,
                    hours_heard=round(heard / 50 / 3600, 2),
                    token_loss=token_loss,
                    character_loss=character_loss,
                    validated=round(_right(model, _to(watched, device)), 4),
                )
            )
            losses.clear()
            print(_line(curve[-1]), flush=True)
        if spent_s - saved_at >= settings.checkpoint_s:
            saved_at = spent_s
            save()
    save()
    model.modules.to("cpu").eval()
    return model, curve


def assemble(corpus: Corpus, tokens: Tokens, chosen: Sequence[int], length: int, rng: Random) -> Batch:
    """The tensors of some clips, filled up with silence to a length."""
    frames = np.empty((len(chosen), length, BANDS), np.float32)
    sequences, prompts, characters = [], [], []
    for row, clip in enumerate(chosen):
        stored, floor, label = corpus.frames(clip), corpus.floors[clip], corpus.labels[clip]
        frames[row, : len(stored)] = stored
        frames[row, len(stored) :] = 0.0
        frames[row] *= 2.0 / 255
        frames[row] += floor
        sequence = label.sequence(tokens, rng.random() < STAMPED)
        prompt: list[int] = []
        if rng.random() < PROMPTED and label.segments:
            others = [corpus.labels[rng.choice(chosen)] for _ in range(2)]
            prompt = label.hints(tokens, rng, others)
        sequences.append((prompt + sequence)[: TARGET + 1])
        prompts.append(len(prompt))
        characters.append(label.characters)
    longest = max(map(len, sequences)) - 1
    end = tokens.special["<|endoftext|>"]
    inputs = torch.full((len(chosen), longest), end)
    targets = torch.full((len(chosen), longest), IGNORED)
    for row, (sequence, prompt_length) in enumerate(zip(sequences, prompts, strict=True)):
        inputs[row, : len(sequence) - 1] = torch.tensor(sequence[:-1])
        # Nothing is learned of the prompt, nor of the start of the transcript: both are given.
        targets[row, prompt_length : len(sequence) - 1] = torch.tensor(sequence[prompt_length + 1 :])
    lengths = [min(-(-len(corpus.frames(clip)) // 2), length // 2) for clip in chosen]
    return Batch(
        torch.from_numpy(frames).transpose(1, 2),
        inputs,
        targets,
        torch.tensor([letter for row in characters for letter in row], dtype=torch.long),
        torch.tensor([len(row) for row in characters]),
        torch.tensor(lengths),
    )


def _right(model: Recogniser, batch: Batch) -> float:
    """The share of the batch's tokens that the network finds most likely."""
    with torch.inference_mode(), torch.autocast(batch.frames.device.type, torch.bfloat16):
        found = model.decode(batch.inputs, model.encode(batch.frames)).argmax(-1)
    wanted = batch.targets != IGNORED
    return float((found == batch.targets)[wanted].float().mean())


def _endless(corpus: Corpus, rng: Random, frames: int) -> Iterator[tuple[int, list[int]]]:
    while True:
        yield from corpus.batches(rng, frames, _CEILINGS)


def _optimizers(model: Recogniser, settings: Settings) -> list[torch.optim.Optimizer]:
    """Muon (Jordan et al., 2024) for the matrices inside the layers, AdamW for everything else."""
    matrices: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for name, parameter in model.modules.named_parameters():
        if not parameter.requires_grad:
            continue
        inside = ".layers." in name and parameter.ndim == 2
        (matrices if inside else others).append(parameter)
    groups: list[dict[str, Any]] = [{"params": others, "scale": 1.0}]
    return [
        torch.optim.Muon(
            [{"params": matrices, "scale": 1.0}],
            lr=settings.rate,
            weight_decay=settings.decay,
            adjust_lr_fn="match_rms_adamw",
        ),
        torch.optim.AdamW(groups, lr=settings.rate, betas=(0.9, 0.98), weight_decay=0.01),
    ]


def _schedule(part: float) -> float:
    """Warm up, stay, and fall to nothing over the second half."""
    if part < _WARM:
        return part / _WARM
    return 1.0 if part < 0.5 else max(0.0, math.cos(math.pi / 2 * (part - 0.5) / 0.5))


def _to(batch: Batch, device: torch.device) -> Batch:
    if device.type == "cpu":
        return batch
    return Batch(*(getattr(batch, name).to(device, non_blocking=True) for name in Batch.__dataclass_fields__))


def _line(progress: Progress) -> str:
    return (
        f"{progress.minutes:6.2f} min  step {progress.steps:6}  heard {progress.hours_heard:7.2f} h  "
        f"token loss {progress.token_loss:.3f}  character loss {progress.character_loss:.3f}  validated {progress.validated:.3f}"
    )
