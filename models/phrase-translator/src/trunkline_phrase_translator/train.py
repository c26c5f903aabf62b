"""Training on conversations, for as many minutes as there are, from where it stopped."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Any, Final

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from trunkline_phrase_translator.conversations import codes, draw_conversation
from trunkline_phrase_translator.model import IGNORED, POSITIONS, Size, Translator
from trunkline_phrase_translator.tokens import END, PAD
from trunkline_phrase_translator.turn import Direction, Turn
from trunkline_phrases.languages import Part

_POOL: Final = 24
"""Batches drawn at a time, so that each can hold sequences of much the same length."""
_STEP: Final = 8
"""Lengths are filled up to a multiple of it."""
_WARM: Final = 0.02
_FLAT: Final = 0.3
"""The part of the time after which the rate falls, to nothing."""
_CLIP: Final = 1.0
_BLURRED: Final = 0.1
"""Tokens of the translation so far that are taken from elsewhere, until the last part of the time."""
_CLEAR: Final = 0.25
_KEPT: Final = 0.998
"""Of the average of the weights, a step. The average is what is validated and exported."""
_AVERAGED: Final = 0.5
"""The part of the time after which there is one."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How to train."""

    minutes: float
    seed: int = 7
    threads: int = 1
    tokens: int = 3_600
    """Of a batch, with what fills it up."""
    rate: float = 3e-3
    decay: float = 0.3
    """Of the weights."""
    report_s: float = 60.0
    checkpoint_s: float = 120.0


@dataclass(frozen=True, slots=True)
class Progress:
    """A line of the learning curve."""

    minutes: float
    steps: int
    tokens: int
    """In sequences so far, source and target, without filling."""
    turns: int
    loss: float
    """Of target tokens, in nats, on training conversations."""
    validation_loss: float
    validated: float
    """The share of target tokens, each after the true ones before it, that are right in the validation split."""
    exact: float
    """The share of translations there of which every token is."""


@dataclass(frozen=True, slots=True)
class Sequences:
    """Conversations as tokens, filled up to one length."""

    ids: Tensor
    targets: Tensor
    """The next token where it is the translation's or its end, else IGNORED."""
    tokens: int
    turns: int


class Encoder:
    """Conversations as tokens and what is learned of them."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        system, user, assistant, end, pad = (
            tokenizer.token_to_id(token) for token in ("<|system|>", "<|user|>", "<|assistant|>", END, PAD)
        )
        self._system, self._user, self._assistant, self._end, self.pad = system, user, assistant, end, pad

    def encode(self, direction: Direction, turns: Sequence[Turn]) -> tuple[list[int], list[int]]:
        """The ids, and the target after each."""
        texts = [codes(direction), *(text for turn in turns for text in (turn.source, turn.target))]
        parts = [encoded.ids for encoded in self._tokenizer.encode_batch_fast(texts)]
        ids, learned = [self._system, *parts[0]], [False] * (1 + len(parts[0]))
        for source, target in zip(parts[1::2], parts[2::2], strict=True):
            ids += [self._user, *source, self._assistant, *target, self._end]
            learned += [False] * (len(source) + 2) + [True] * (len(target) + 1)
        targets = [ids[place] if learned[place] else IGNORED for place in range(1, len(ids))]
        return ids[:-1], targets

    def fill(self, rows: Sequence[tuple[list[int], list[int]]], turns: int = 0) -> Sequences:
        longest = -(-max(len(ids) for ids, _ in rows) // _STEP) * _STEP
        ids = [row + [self.pad] * (longest - len(row)) for row, _ in rows]
        targets = [row + [IGNORED] * (longest - len(row)) for _, row in rows]
        count = sum(len(row) for row, _ in rows)
        return Sequences(torch.tensor(ids), torch.tensor(targets), count, turns)


def batches(encoder: Encoder, rng: Random, part: Part, tokens: int) -> Iterator[Sequences]:
    """Batches of about as many tokens each, of sequences of much the same length, without end."""
    while True:
        pool: list[tuple[list[int], list[int], int]] = []
        size = 0
        while size < tokens * _POOL:
            direction, turns = draw_conversation(rng, part)
            ids, targets = encoder.encode(direction, turns)
            if turns and len(ids) <= POSITIONS:
                pool.append((ids, targets, len(turns)))
                size += len(ids)
        pool.sort(key=lambda row: len(row[0]))
        cut: list[list[tuple[list[int], list[int], int]]] = [[]]
        for row in pool:
            if (len(cut[-1]) + 1) * len(row[0]) > tokens:
                cut.append([])
            cut[-1].append(row)
        rng.shuffle(cut)
        for rows in cut:
            yield encoder.fill([(ids, targets) for ids, targets, _ in rows], sum(row[2] for row in rows))


def train(
    place: Path, tokenizer: Tokenizer, size: Size, settings: Settings
) -> tuple[Translator, list[Progress]]:
    """Trains, or goes on from `place`/checkpoint.pt; minutes spent before count.

    Raises:
        ValueError: the checkpoint is of another network or vocabulary.
    """
    torch.manual_seed(settings.seed)
    torch.set_num_threads(settings.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    encoder = Encoder(tokenizer)
    model = Translator(size, tokenizer.get_vocab_size()).to(device)
    optimizers = _optimizers(model, settings)
    average: dict[str, Tensor] = {}
    curve: list[Progress] = []
    spent_s, steps, seen, turns = 0.0, 0, 0, 0
    checkpoint = place / "checkpoint.pt"
    described = describe(size, tokenizer)
    if checkpoint.is_file():
        state = _read(checkpoint, described, device)
        model.load_state_dict(state["model"])
        average = state.get("average", {})
        for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
            # Its momenta; how fast to learn is what the settings say now.
            optimizer.load_state_dict({**saved, "param_groups": optimizer.state_dict()["param_groups"]})
        curve = [Progress(**line) for line in state["curve"]]
        spent_s, steps, seen, turns = state["spent_s"], state["steps"], state["tokens"], state["turns"]
    rng = Random(f"{settings.seed} {steps}")

    def save() -> None:
        state = {
            "described": described,
            "model": model.state_dict(),
            "average": average,
            "optimizers": [optimizer.state_dict() for optimizer in optimizers],
            "curve": [asdict(line) for line in curve],
            "spent_s": spent_s,
            "steps": steps,
            "tokens": seen,
            "turns": turns,
        }
        unfinished = checkpoint.with_suffix(".part")
        torch.save(state, unfinished)
        unfinished.replace(checkpoint)

    drawn = batches(encoder, Random(settings.seed), "validation", settings.tokens)
    watched = [next(drawn) for _ in range(3)]
    budget_s = settings.minutes * 60
    started = time.monotonic() - spent_s
    reported = saved_at = spent_s
    losses: list[float] = []
    for batch in batches(encoder, rng, "train", settings.tokens):
        part = spent_s / budget_s
        if part >= 1.0:
            break
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = settings.rate * schedule(part)
            optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device.type, torch.bfloat16):
            ids = _blur(batch, _BLURRED if part < 1 - _CLEAR else 0.0)
            loss, _ = model(ids.to(device), batch.targets.to(device))
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), _CLIP)
        for optimizer in optimizers:
            optimizer.step()
        if part > _AVERAGED:
            _mix(average, model)
        losses.append(float(loss.detach()))
        steps += 1
        seen += batch.tokens
        turns += batch.turns
        spent_s = time.monotonic() - started
        if spent_s - reported >= settings.report_s:
            reported = spent_s
            with _weights(model, average):
                found = [round(figure, 4) for figure in _validate(model, watched, device)]
            mean = round(sum(losses) / len(losses), 4)
            curve.append(Progress(round(spent_s / 60, 2), steps, seen, turns, mean, *found))
            losses.clear()
            print(_line(curve[-1]), flush=True)
        if spent_s - saved_at >= settings.checkpoint_s:
            saved_at = spent_s
            save()
    save()
    model.load_state_dict({**model.state_dict(), **average})
    return model.to("cpu").eval(), curve


def restore(place: Path, tokenizer: Tokenizer, size: Size) -> tuple[Translator, list[Progress]]:
    """The network as it was at the last checkpoint, averaged if it was by then.

    Raises:
        ValueError: the checkpoint is of another network or vocabulary.
    """
    state = _read(place / "checkpoint.pt", describe(size, tokenizer), torch.device("cpu"))
    model = Translator(size, tokenizer.get_vocab_size())
    model.load_state_dict({**state["model"], **state.get("average", {})})
    return model.eval(), [Progress(**line) for line in state["curve"]]


def describe(size: Size, tokenizer: Tokenizer) -> dict[str, Any]:
    """What a checkpoint must agree with."""
    return {"size": asdict(size), "tokenizer": tokenizer.to_str()}


def schedule(part: float) -> float:
    """Warm up, stay, and fall to nothing in a straight line."""
    if part < _WARM:
        return part / _WARM
    return 1.0 if part < _FLAT else max(0.0, (1 - part) / (1 - _FLAT))


def _mix(average: dict[str, Tensor], model: Translator) -> None:
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name in average:
                average[name].lerp_(weight, 1 - _KEPT)
            else:
                average[name] = weight.detach().clone()


@contextmanager
def _weights(model: Translator, average: dict[str, Tensor]) -> Iterator[None]:
    """The model with other weights, for a while."""
    own = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    model.load_state_dict({**own, **average})
    try:
        yield
    finally:
        model.load_state_dict(own)


def _read(checkpoint: Path, described: dict[str, Any], device: torch.device) -> dict[str, Any]:
    state: dict[str, Any] = torch.load(checkpoint, map_location=device, weights_only=True)
    if state["described"] != described:
        raise ValueError(f"{checkpoint} is of another network or vocabulary")
    return state


def _validate(
    model: Translator, watched: Sequence[Sequences], device: torch.device
) -> tuple[float, float, float]:
    """The loss, the share of tokens and the share of translations that are right."""
    lost, right, count, exact, translations = 0.0, 0, 0, 0, 0
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16):
        for batch in watched:
            targets = batch.targets.to(device)
            wanted = targets != IGNORED
            logits = model.logits(model.hidden(batch.ids.to(device))[wanted]).float()
            kept = targets[wanted]
            same = logits.argmax(-1) == kept
            lost += float(nn.functional.cross_entropy(logits, kept, reduction="sum"))
            right += int(same.sum())
            count += len(kept)
            # A translation is a run of targets.
            starts = wanted & ~torch.cat((torch.zeros_like(wanted[:, :1]), wanted[:, :-1]), 1)
            number = (starts.flatten().cumsum(0) - 1)[wanted.flatten()]
            wrong = torch.zeros(int(number.max()) + 1, dtype=torch.long, device=device)
            wrong.index_add_(0, number, (~same).long())
            exact += int((wrong == 0).sum())
            translations += len(wrong)
    return lost / count, right / count, exact / translations


def _blur(batch: Sequences, share: float) -> Tensor:
    """The batch's ids, some that were targets exchanged: what comes next must be read from the source.

    A network that leans on what it has said so far completes the sentence it knows best instead.
    """
    said = torch.cat(
        (torch.zeros_like(batch.ids[:, :1], dtype=torch.bool), batch.targets[:, :-1] != IGNORED), 1
    )
    chosen = said & (torch.rand(batch.ids.shape) < share)
    pool = batch.ids[said]
    drawn = pool[torch.randint(len(pool), (int(chosen.sum()),))]
    return batch.ids.masked_scatter(chosen, drawn)


def _optimizers(model: Translator, settings: Settings) -> list[torch.optim.Optimizer]:
    """Muon (Jordan et al., 2024) for the matrices inside the layers, AdamW for everything else."""
    matrices = [
        weight for name, weight in model.named_parameters() if ".layers." in name and weight.ndim == 2
    ]
    taken = {id(weight) for weight in matrices}
    others = [weight for weight in model.parameters() if id(weight) not in taken]
    return [
        torch.optim.Muon(
            matrices, lr=settings.rate, weight_decay=settings.decay, adjust_lr_fn="match_rms_adamw"
        ),
        torch.optim.AdamW(others, lr=settings.rate, betas=(0.9, 0.98), weight_decay=settings.decay / 5),
    ]


def _line(progress: Progress) -> str:
    return (
        f"{progress.minutes:6.2f} min  step {progress.steps:6}  {progress.tokens / 1e6:6.2f} M tokens"
        f"  {progress.turns:8} turns  loss {progress.loss:.4f}  validation loss {progress.validation_loss:.4f}"
        f"  tokens {progress.validated:.4f}  exact {progress.exact:.4f}"
    )
