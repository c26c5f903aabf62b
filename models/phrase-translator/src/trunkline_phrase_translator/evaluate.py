"""What the exported model translates, through ContinuousBatchingPipeline, of templates that training never met."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, Final

import openvino_genai
import sacrebleu

from trunkline_phrase_translator import placeholders
from trunkline_phrase_translator.conversations import CONTEXT_PAIRS, DIRECTIONS, render
from trunkline_phrase_translator.held_out import HeldOut, held_out
from trunkline_phrase_translator.turn import Direction, Turn
from trunkline_phrase_translator.turns import draw_filled
from trunkline_phrases import LANGUAGES, Language, spoken, vocabulary, words

SENTENCES: Final = 300
"""Of a direction, for each condition."""
_SEED: Final = 4211
_NEW_TOKENS: Final = 160
_AT_ONCE: Final = 64
_CACHE_GB: Final = 1
_ALONE: Final = 100
"""Sentences of which the time is taken one by one."""


@dataclass(frozen=True, slots=True)
class Case:
    """What is asked and what is right."""

    direction: Direction
    context: tuple[Turn, ...]
    source: str
    target: str
    family: str = ""

    @property
    def prompt(self) -> str:
        return render(self.direction, self.context, self.source)


class Engine:
    """The exported model."""

    def __init__(self, place: Path, threads: int = 1) -> None:
        scheduler = openvino_genai.SchedulerConfig()
        scheduler.max_num_seqs = _AT_ONCE
        scheduler.cache_size = _CACHE_GB
        self._pipeline = openvino_genai.ContinuousBatchingPipeline(
            str(place), scheduler, "CPU", {"INFERENCE_NUM_THREADS": threads}
        )
        self._options = self._pipeline.get_config()
        self._options.max_new_tokens = _NEW_TOKENS
        self._options.apply_chat_template = False

    def translate(self, prompts: Sequence[str]) -> list[str]:
        results = self._pipeline.generate(list(prompts), [self._options] * len(prompts))
        return [str(result.m_generation_ids[0]) for result in results]


def measure(place: Path, count: int = SENTENCES) -> dict[str, Any]:
    """Every figure of the card that is the exported model's."""
    engine = Engine(place)
    figures: dict[str, Any] = {"sentences": count, "directions": {}}
    families: dict[str, list[bool]] = {}
    wrong = total = 0
    for direction in DIRECTIONS:
        scores = {}
        for condition, cases in conditions(direction, count).items():
            answers = engine.translate([case.prompt for case in cases])
            scores[condition] = score(cases, answers, direction.target)
            wrong += scores[condition]["wrong_language"]
            total += len(cases)
            if condition == "context":
                for case, answer in zip(cases, answers, strict=True):
                    families.setdefault(case.family, []).append(case.target == answer)
        figures["directions"][f"{direction.source}-{direction.target}"] = scores
    figures["families"] = {
        family: {"sentences": len(right), "exact": round(sum(right) / len(right), 4)}
        for family, right in sorted(families.items())
    }
    figures["wrong_language"] = {"sentences": total, "wrong": wrong, "share": round(wrong / total, 5)}
    figures["speed"] = speed(engine, count)
    return figures


def conditions(direction: Direction, count: int) -> dict[str, list[Case]]:
    """The cases of a direction by condition."""
    source, target = direction.source, direction.target
    asked = held_out(source, target, count, _SEED, answers=False)
    unasked = held_out(source, target, count, _SEED + 1, answers=False, asked=False)
    some = max(1, count // 3)
    return {
        "alone": [_case(sentence) for sentence in asked],
        "context": _in_context(held_out(source, target, count, _SEED + 2)),
        "unasked": [_case(sentence) for sentence in unasked],
        "spoken": [
            Case(case.direction, (), spoken(case.source, source), case.target, case.family)
            for case in map(_case, asked[:some])
        ],
        "two": [
            Case(first.direction, (), f"{first.source} {second.source}", f"{first.target} {second.target}")
            for first, second in zip(
                map(_case, unasked[:some]), map(_case, unasked[some : 2 * some]), strict=True
            )
        ],
        "masked": _masked(direction, some),
    }


def score(cases: Sequence[Case], answers: Sequence[str], target: Language) -> dict[str, Any]:
    """chrF and BLEU of sacrebleu, exact matches, sentences in another language, placeholders that came through."""
    references = [case.target for case in cases]
    scores: dict[str, Any] = {
        "sentences": len(cases),
        "chrf": round(sacrebleu.corpus_chrf(answers, [references]).score, 2),
        "bleu": round(sacrebleu.corpus_bleu(answers, [references]).score, 2),
        "exact": round(sum(map(str.__eq__, references, answers)) / len(cases), 4),
        "wrong_language": sum(in_another(answer, target) for answer in answers),
    }
    marked = [(case, answer) for case, answer in zip(cases, answers, strict=True) if "<|" in case.target]
    if marked:
        kept = [_marks(case.target) == _marks(answer) for case, answer in marked]
        scores["kept"] = round(sum(kept) / len(kept), 4)
    return scores


def in_another(text: str, language: Language) -> bool:
    """Whether another language knows more of a text's words than its own does."""
    known = {other: sum(word in vocabulary(other) for word in words(text, other)) for other in LANGUAGES}
    return any(known[other] > known[language] for other in LANGUAGES)


def speed(engine: Engine, count: int) -> dict[str, float]:
    """Sentences a second on one thread, all directions mixed: many at once, and one after the other."""
    prompts = [
        _case(sentence).prompt
        for direction in DIRECTIONS
        for sentence in held_out(direction.source, direction.target, max(1, count // 4), _SEED, answers=False)
    ]
    Random(_SEED).shuffle(prompts)
    started = time.perf_counter()
    engine.translate(prompts)
    together_s = time.perf_counter() - started
    alone = prompts[:_ALONE]
    started = time.perf_counter()
    for prompt in alone:
        engine.translate([prompt])
    alone_s = time.perf_counter() - started
    return {
        "sentences": len(prompts),
        "at_once": _AT_ONCE,
        "sentences_per_s": round(len(prompts) / together_s, 1),
        "alone_ms": round(alone_s / len(alone) * 1000, 2),
    }


def _case(sentence: HeldOut) -> Case:
    context = (sentence.before,) if sentence.before else ()
    return Case(sentence.direction, context, sentence.source, sentence.target, sentence.family)


def _in_context(sentences: Sequence[HeldOut]) -> list[Case]:
    """Each after one to three pairs that have nothing to do with it, and after what it answers."""
    rng = Random(_SEED)
    cases = []
    for sentence in sentences:
        room = CONTEXT_PAIRS - (sentence.before is not None)
        others = [draw_filled(rng, "test") for _ in range(1 + int(rng.random() * room))]
        addressed = sentence.formality or "formal"
        pairs = [other.turns(sentence.direction, addressed)[0] for other in others]
        own = _case(sentence)
        cases.append(Case(own.direction, (*pairs, *own.context), own.source, own.target, own.family))
    return cases


def _masked(direction: Direction, count: int) -> list[Case]:
    rng = Random(_SEED)
    cases: list[Case] = []
    while len(cases) < count:
        filled = draw_filled(rng, "test")
        if filled.template.before is None:
            asked = Direction(direction.source, direction.target, "formal")
            (turn,) = filled.turns(asked, "formal")
            pairs = placeholders.pairs(filled.fillers.values(), direction.source, direction.target)
            source, target = placeholders.mask(rng, turn.source, turn.target, pairs)
            if "<|" in source:
                cases.append(Case(asked, (), source, target, filled.template.family))
    return cases


def _marks(text: str) -> list[str]:
    return sorted(mark for mark in placeholders.PLACEHOLDERS for _ in range(text.count(mark)))
