"""What is translated in one turn of a conversation: a source text and its translation."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from random import Random
from typing import Final

from trunkline_phrase_translator import placeholders
from trunkline_phrase_translator.chunks import chunks
from trunkline_phrase_translator.crossing import cross
from trunkline_phrase_translator.exchange import exchange
from trunkline_phrase_translator.turn import Direction, Turn
from trunkline_phrases import FORMALITIES, Formality, Language, Template, realise, spoken, templates
from trunkline_phrases.fillers import Filler, Style
from trunkline_phrases.languages import Part
from trunkline_phrases.lexicon import fill, lexicon, pick
from trunkline_phrases.nouns import Noun

_JOINED: Final = 0.07
_FRAGMENTS: Final = 0.05
_LISTS: Final = 0.12
_CHUNKS: Final = 0.5
_EXCHANGED: Final = 0.8
_TRIES: Final = 3
_CAPTIONS: Final = 0.15
"""Of joined sentences, those that are fragments."""
_CROSSED: Final = 0.9
_SPOKEN: Final = 0.1
_MASKED: Final = 0.11
_NOUN_FORMS: Final = (("the",), ("a",), ("my",), ("this",), ("bare",), ("plural",))
_OTHER_FORMS: Final = ((), ("m",), ("at",), ("in",), ("inf",), ("bare",), ("need",), ("now",), ("he",))
_NUMBERS: Final = (
    "amount", "number", "number", "price", "date", "year", "clock", "daytime", "departure", "count", "duration",
)  # fmt: skip
_BUILT: Final = 0.35
"""Of fragments, those that count: they are built, where words are only known."""


@dataclass(frozen=True, slots=True)
class Filled:
    """A template with its fillers: a sentence of which every wording can be had."""

    template: Template
    fillers: Mapping[str, Filler]

    def texts(self, language: Language, formality: Formality) -> tuple[str, ...]:
        """The sentence, after the one before it where there is one."""
        said = realise(self.template, self.fillers, formality, (language,))
        return (said.before[language], said.texts[language]) if said.before else (said.texts[language],)

    def turns(self, direction: Direction, addressed: Formality) -> tuple[Turn, ...]:
        """Its turns, where the source addresses people in a way of its own.

        Asked for a formality, the target has that one. Asked for none, it has the source's if the source
        shows one, and is formal if not.
        """
        source = self.texts(direction.source, addressed)
        wanted = direction.formality
        if wanted is None:
            other: Formality = "informal" if addressed == "formal" else "formal"
            wanted = addressed if source != self.texts(direction.source, other) else "formal"
        target = self.texts(direction.target, wanted)
        return tuple(Turn(*pair) for pair in zip(source, target, strict=True))


def draw_filled(rng: Random, part: Part) -> Filled:
    """A sentence as the grammar draws it: a family, then a template, then fillers, each evenly."""
    template = pick(rng, pick(rng, _by_family(part)))
    return Filled(template, fill(template.slots, rng))


def _draw(rng: Random, part: Part) -> Filled:
    """The same, where for training some are crossed."""
    filled = draw_filled(rng, part)
    if part == "train" and rng.random() < _CROSSED:
        crossed = cross(rng, filled.template, filled.fillers)
        return filled if crossed is None else Filled(filled.template, crossed)
    return filled


def draw(rng: Random, direction: Direction, part: Part = "train") -> list[Turn]:
    """What comes next in a conversation: mostly a sentence, after the one before it where there is one.

    Some turns are two or three sentences, some a fragment or, for training, words in no order; some sources are in their spoken form, and in
    some pairs a word that corresponds to another is a placeholder.
    """
    kind = rng.random()
    if kind < _FRAGMENTS:
        turn = _fragment(rng, direction)
        if rng.random() < 0.4:
            turn = Turn(_sentence(turn.source), _sentence(turn.target))
        return [turn]
    if part == "train" and kind < _FRAGMENTS + _LISTS:
        return [_list(rng, direction)]
    if kind < _FRAGMENTS + _LISTS + _JOINED:
        count = 3 if rng.random() < 0.2 else 2
        parts: list[Turn] = []
        while len(parts) < count:
            if part == "train" and rng.random() < _CAPTIONS:
                fragment = _fragment(rng, direction)
                parts.append(Turn(_sentence(fragment.source), _sentence(fragment.target)))
                continue
            filled = _draw(rng, part)
            if filled.template.before is None:
                # Two sentences would number their placeholders alike.
                parts.extend(_said(rng, filled, direction, not parts and rng.random() < _MASKED))
        turns = [Turn(" ".join(turn.source for turn in parts), " ".join(turn.target for turn in parts))]
    else:
        filled = _draw(rng, part)
        turns = _said(rng, filled, direction, rng.random() < _MASKED)
        if part == "train" and rng.random() < _EXCHANGED:
            answers = filled.template.before is not None
            tried = (exchange(rng, turns[-1], direction, answers=answers) for _ in range(_TRIES))
            turns[-1] = next(filter(None, tried), turns[-1])
    if rng.random() < _SPOKEN and not any("<|" in turn.source for turn in turns):
        turns = [Turn(spoken(turn.source, direction.source), turn.target) for turn in turns]
    return turns


def _said(rng: Random, filled: Filled, direction: Direction, masked: bool) -> list[Turn]:
    addressed = pick(rng, FORMALITIES)
    turns = list(filled.turns(direction, addressed))
    if masked:
        pairs = placeholders.pairs(filled.fillers.values(), direction.source, direction.target)
        return [Turn(*placeholders.mask(rng, turn.source, turn.target, pairs)) for turn in turns]
    return turns


def _fragment(rng: Random, direction: Direction) -> Turn:
    """A number, a word or an expression of the lexicon, alone."""
    category = pick(rng, _NUMBERS if rng.random() < _BUILT else _words())
    filler = lexicon()[category].draw(rng)
    asked = direction.formality or "formal"
    said: list[Turn] = []
    for form in _NOUN_FORMS if isinstance(filler, Noun) else _OTHER_FORMS:
        try:
            source = filler.say(Style(direction.source, asked), form)
            target = filler.say(Style(direction.target, asked), form)
        except LookupError:
            # Not every filler has every form: then it is said in another.
            continue
        if source and target:
            said.append(Turn(source, target))
    if not said:
        return _fragment(rng, direction)
    return pick(rng, tuple(said)) if isinstance(filler, Noun) else said[0]


@cache
def _words() -> tuple[str, ...]:
    return tuple(
        sorted(name for name in lexicon() if name not in (*_NUMBERS, "please", "digit", "few", "degree"))
    )


def _list(rng: Random, direction: Direction) -> Turn:
    """Words that have nothing to do with each other: nothing can be guessed."""
    groups = chunks(direction.source, direction.target, direction.formality or "formal")
    parts = [
        pick(rng, groups) if rng.random() < _CHUNKS else _fragment(rng, direction)
        for _ in range(2 + int(rng.random() * 5))
    ]
    between = pick(rng, (" ", ", "))
    return Turn(between.join(part.source for part in parts), between.join(part.target for part in parts))


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


@cache
def _by_family(part: Part) -> tuple[tuple[Template, ...], ...]:
    found: dict[str, list[Template]] = {}
    for template in templates(part):
        found.setdefault(template.family, []).append(template)
    return tuple(tuple(members) for members in found.values())
