"""Placeholders: what must come out as it went in, a name or a term, stands in both texts as one token."""

import re
from collections.abc import Iterable
from random import Random
from typing import Final

from trunkline_phrases import Language
from trunkline_phrases.adjectives import Adjective
from trunkline_phrases.fillers import Filler, Style
from trunkline_phrases.nouns import Noun

PLACEHOLDERS: Final = tuple(f"<|{place}|>" for place in range(10))
_FORMS: Final = ((), ("bare",), ("at",), ("plural",))


def pairs(fillers: Iterable[Filler], source: Language, target: Language) -> list[tuple[str, str]]:
    """Words and phrases of the source that correspond to those of the target."""
    found: list[tuple[str, str]] = []
    for filler in fillers:
        if isinstance(filler, Adjective):
            # It has no form of its own: it agrees with a noun.
            continue
        for form in _FORMS[1:] if isinstance(filler, Noun) else _FORMS:
            try:
                pair = filler.say(Style(source), form), filler.say(Style(target), form)
            except KeyError:
                # It has no such form.
                continue
            if all(pair) and pair not in found:
                found.append(pair)
    return found


def mask(rng: Random, source: str, target: str, candidates: Iterable[tuple[str, str]]) -> tuple[str, str]:
    """Both texts with up to three pairs replaced, each by the same placeholder on both sides.

    A pair is replaced where each of its sides is whole words and occurs once. Placeholders are mostly
    numbered from nought, in the order of the source.
    """
    chosen: list[tuple[int, str, str]] = []
    wanted = rng.choice((1, 1, 2, 3))
    shuffled = list(candidates)
    rng.shuffle(shuffled)
    for here, there in shuffled:
        if len(chosen) == wanted:
            break
        at, to = _once(source, here), _once(target, there)
        if at is None or to is None:
            continue
        mark = chr(0xE000 + len(chosen))
        source = source[: at[0]] + mark + source[at[1] :]
        target = target[: to[0]] + mark + target[to[1] :]
        chosen.append((source.index(mark), here, mark))
    marks = sorted((mark for _, _, mark in chosen), key=source.index)
    numbers = range(10) if rng.random() < 0.7 else rng.sample(range(10), 10)
    for mark, number in zip(marks, numbers, strict=False):
        source = source.replace(mark, PLACEHOLDERS[number])
        target = target.replace(mark, PLACEHOLDERS[number])
    return source, target


def _once(text: str, words: str) -> tuple[int, int] | None:
    found = list(re.finditer(rf"(?<!\w){re.escape(words)}(?!\w)", text))
    return found[0].span() if len(found) == 1 else None
