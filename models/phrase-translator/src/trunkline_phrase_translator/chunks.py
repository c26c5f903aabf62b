"""Words and groups of words that translate each other, found by comparing the templates of the training split.

Two groups of words, one of each language, belong together if they stand in exactly the same templates, in two
at least, and no longer group of either language does: "where can I" and "wo kann ich". Known without any
template that was held out.
"""

import re
from collections import defaultdict
from functools import cache
from random import Random
from typing import Final

from trunkline_phrase_translator.turn import Turn
from trunkline_phrases import Formality, Language, templates
from trunkline_phrases.lexicon import lexicon
from trunkline_phrases.patterns import Pattern
from trunkline_phrases.wordings import FilledPhrase

_LONGEST: Final = 6
_PLEASE: Final[dict[Language, str]] = {"en": "please", "es": "por favor", "de": "bitte", "fr": "s'il"}
_TOKEN: Final = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*'?|[^\w\s]")


@cache
def chunks(source: Language, target: Language, formality: Formality) -> tuple[Turn, ...]:
    """Groups of words and their translations where people are addressed in this way."""
    here, there = _groups(source, formality), _groups(target, formality)
    found = {
        Turn(here[places][0], there[places][0])
        for places in here.keys() & there.keys()
        if len(places) > 1
        and len(here[places]) == len(there[places]) == 1
        # What follows an elided word depends on it.
        and not here[places][0].endswith("'")
        and not there[places][0].endswith("'")
    }
    return tuple(sorted(found, key=lambda turn: (turn.source, turn.target)))


@cache
def alike(source: Language, target: Language, formality: Formality) -> dict[Turn, tuple[Turn, ...]]:
    """The chunks that can stand for each: in some template between the same neighbours, in both languages."""
    here, there = _neighbours(source, formality), _neighbours(target, formality)
    frames: defaultdict[tuple[object, object], list[Turn]] = defaultdict(list)
    for chunk in chunks(source, target, formality):
        if chunk.source == _PLEASE[source]:
            # What follows it in one language is an imperative, in another an infinitive.
            continue
        words, translated = (tuple(text.split(" ")) for text in (chunk.source, chunk.target))
        for place, around in here[words].items():
            frames[around, there[translated][place]].append(chunk)
    found: defaultdict[Turn, set[Turn]] = defaultdict(set)
    for together in frames.values():
        for chunk in together:
            found[chunk].update(other for other in together if other != chunk)
    return {
        chunk: tuple(sorted(others, key=lambda turn: (turn.source, turn.target)))
        for chunk, others in found.items()
        if others
    }


@cache
def _neighbours(
    language: Language, formality: Formality
) -> dict[tuple[str, ...], dict[str, tuple[str, str]]]:
    """What stands before and after a group of words in each of its places: a word, a mark, a kind of slot."""
    found: defaultdict[tuple[str, ...], dict[str, tuple[str, str]]] = defaultdict(dict)
    for template in templates("train"):
        wordings = [template.sentence[language], *([template.before[language]] if template.before else [])]
        for number, wording in enumerate(wordings):
            tokens = ["^", *_tokens(wording.to(formality)), "$"]
            for start in range(1, len(tokens)):
                for end in range(start, min(len(tokens) - 1, start + _LONGEST)):
                    if not tokens[end][0].isalpha():
                        break
                    group = tuple(tokens[start : end + 1])
                    found[group][f"{template.id} {number}"] = tokens[start - 1], tokens[end + 1]
    return found


@cache
def _groups(language: Language, formality: Formality) -> dict[frozenset[str], list[str]]:
    """The longest groups of words by the templates they stand in."""
    places = {words: set(around) for words, around in _neighbours(language, formality).items()}
    groups: defaultdict[frozenset[str], list[tuple[str, ...]]] = defaultdict(list)
    for words, where in places.items():
        groups[frozenset(where)].append(words)
    return {
        where: [" ".join(words) for words in group if not any(_inside(words, other) for other in group)]
        for where, group in groups.items()
    }


def _tokens(pattern: Pattern) -> list[str]:
    """Words, the first of the text in lower case, marks, and slots as what fills them in braces."""
    tokens: list[str] = []
    for number, part in enumerate(pattern.parts):
        if isinstance(part, str):
            tokens.extend(_TOKEN.findall(_small(part) if number == 0 else part))
        else:
            tokens.append(f"{{{_kind(part.category)}}}")
    return tokens


@cache
def _kind(category: str) -> str:
    filler = lexicon()[category].draw(Random(0))
    return category if isinstance(filler, FilledPhrase) else type(filler).__name__


def _small(text: str) -> str:
    start = 1 if text.startswith(("¿", "¡")) else 0
    return text[:start] + text[start : start + 1].lower() + text[start + 1 :]


def _inside(words: tuple[str, ...], other: tuple[str, ...]) -> bool:
    return len(words) < len(other) and any(
        other[start : start + len(words)] == words for start in range(len(other) - len(words) + 1)
    )
