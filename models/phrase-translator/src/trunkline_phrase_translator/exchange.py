"""Sentences in which one group of words stands for another that is used like it, or is left out ("good enough compositional
augmentation", Andreas, 2020): "When is the station?" after "When is the meeting?" and "Where is the station?".

What reads like a held-out template is never made.
"""

import re
from functools import cache
from random import Random
from typing import Final

from trunkline_phrase_translator.chunks import alike
from trunkline_phrase_translator.crossing import held_out_like
from trunkline_phrase_translator.turn import Direction, Turn
from trunkline_phrases import Formality, Language
from trunkline_phrases.lexicon import pick

_DROPPED: Final = 0.3
"""Of exchanges, those that leave the words out."""


def exchange(rng: Random, turn: Turn, direction: Direction, *, answers: bool) -> Turn | None:
    """The turn with one group of words exchanged in both texts; None where nothing can be."""
    formality = direction.formality or "formal"
    classes = alike(direction.source, direction.target, formality)
    source_pattern = _any(direction.source, direction.target, formality)
    found = {match.start(): match for match in source_pattern.finditer(turn.source)}
    if not found:
        return None
    match = pick(rng, tuple(found.values()))
    words = match.group().lower() if match.start() < 2 else match.group()
    candidates = [chunk for chunk in classes if chunk.source == words]
    if not candidates:
        return None
    chunk = pick(rng, tuple(candidates))
    at, to = _once(turn.source, chunk.source), _once(turn.target, chunk.target)
    if at is None or to is None:
        return None
    other = Turn("", "") if rng.random() < _DROPPED else pick(rng, classes[chunk])
    made = Turn(_put(turn.source, at, other.source), _put(turn.target, to, other.target))
    for language, text in ((direction.source, made.source), (direction.target, made.target)):
        if held_out_like(language, answers).fullmatch(text):
            return None
    return made


@cache
def _any(source: Language, target: Language, formality: Formality) -> re.Pattern[str]:
    known = sorted({chunk.source for chunk in alike(source, target, formality)}, key=len, reverse=True)
    return re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, known))})(?!\w)", re.IGNORECASE)


def _once(text: str, words: str) -> tuple[int, int] | None:
    found = list(re.finditer(rf"(?<!\w){re.escape(words)}(?!\w)", text, re.IGNORECASE))
    return found[0].span() if len(found) == 1 else None


def _put(text: str, place: tuple[int, int], words: str) -> str:
    start, end = place
    after = text[end:] if words else text[end:].lstrip(" ")
    before = text[:start]
    if not words and after[:1] in (".", ",", "?"):
        before = before.rstrip(" ")
    made = words + after
    if start == 0 or before in ("¿", "¡"):
        made = made[:1].upper() + made[1:]
    return before + made
