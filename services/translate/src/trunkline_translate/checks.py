"""Whether what an engine answered may be a translation at all."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache

from trunkline_translate.detect import Detector
from trunkline_translate.language import Direction
from trunkline_translate.marks import CJK
from trunkline_translate.preambles import begins_with_preamble, speaks_of_it

_IN_LATIN = "af ast ca cs cy da de en es et eu fi fr ga gl hr hu id is it lt lv ms nb nl nn no oc pl pt ro sk sl sq sv tr vi"
_SCRIPTS = {
    **dict.fromkeys(("ar", "fa", "ur"), frozenset({"ARABIC"})),
    **dict.fromkeys(("be", "bg", "kk", "ky", "mk", "mn", "ru", "tg", "uk"), frozenset({"CYRILLIC"})),
    **dict.fromkeys(("hi", "mr", "ne"), frozenset({"DEVANAGARI"})),
    **dict.fromkeys(_IN_LATIN.split(), frozenset({"LATIN"})),
    "el": frozenset({"GREEK"}),
    "he": frozenset({"HEBREW"}),
    "ja": frozenset({"CJK", "HIRAGANA", "KATAKANA"}),
    "ko": frozenset({"HANGUL", "CJK"}),
    "th": frozenset({"THAI"}),
    "zh": frozenset({"CJK"}),
}
"""By language; those that are written in several, and others, are not checked."""

_LENGTHS = {"es": 1.12, "de": 1.13, "fr": 1.18, "ca": 1.1, "it": 1.12, "pt": 1.1}
"""Letters of the same text in several languages, where English has 1. A Chinese letter counts as three, a Japanese one
as two."""
_LONGEST, _SHORTEST = 2.2, 0.4
"""Most and least of what is to be expected..."""
_MORE, _LESS = 15, 10
"""...and, since short sentences vary, so many characters more or less."""

_LETTER = rf"(?!{CJK.pattern})[^\W\d_]"
_WORD = re.compile(rf"{CJK.pattern}|(?:{_LETTER})+(?:['’-](?:{_LETTER})+)*")
"""A word, or a Chinese or Japanese letter."""
_IDEOGRAPH = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff]")
_CONTROL = re.compile(r"<\|[^|>\s]{1,40}\|>|</?s>|\[/?INST\]|```")
_PERIOD, _TIMES = 60, 6
"""A model that goes in circles says the same so many times at the end, so many characters at most."""
_SOME_TIMES = 3
"""Somebody who says the same so many times, such as laughter, may be translated with more of it."""
_QUOTES = ('""', "“”", "„“", "«»", "»«", "「」", "『』", "''", "‘’", "``")
_ANY_QUOTE = frozenset("".join(_QUOTES))
_TELLING = 15
"""Letters from which on the language of an answer is told."""
_WEIGHT = 3
"""Letters that a Chinese or Japanese one counts for."""
_LIKELY = 0.5
"""The confidence in another language than the source's at which an echo is no surprise."""
_SURE, _OUT = 0.9, 0.02
"""The confidence in another language, and in the one that was wanted, at which an answer is in the wrong one."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong with an answer."""

    name: str
    """`empty`, `placeholders`, `control`, `script`, `echo`, `language`, `preamble`, `repetition`, `quotes` or
    `length`: short, for metrics and logs."""
    hard: bool
    """True: it must not be given as a translation. False: it is given, marked, when no engine has a better one."""


class Checks:
    """The checks after generation.

    Their bounds are measured on references (`python -m bench translate_language`): for every pair, less than one
    right translation of a thousand is found fault with.

    Args:
        detector: of the server's languages.
    """

    def __init__(self, detector: Detector) -> None:
        self._detector = detector

    def find(
        self, source: str, answer: str, direction: Direction, *, finished: bool = True
    ) -> Finding | None:
        """The worst that is wrong with an answer, or None.

        Args:
            source: the sentence as the engine was asked it, placeholders included (`Ask.text`).
            answer: what the engine said, placeholders included: before they are put back.
            direction: of the translation.
            finished: False when the answer was cut for its length: how long it is tells nothing then.
        """
        return self._hard(source, answer, direction) or _soft(source, answer, direction, finished=finished)

    def _hard(self, source: str, answer: str, direction: Direction) -> Finding | None:
        if _is_empty(source, answer):
            return Finding("empty", hard=True)
        if _placeholders(source) != _placeholders(answer):
            return Finding("placeholders", hard=True)
        if set(_CONTROL.findall(answer)) - set(_CONTROL.findall(source)):
            return Finding("control", hard=True)
        if _is_other_script(source, answer, direction.target):
            return Finding("script", hard=True)
        if echo := self._echo(source, answer, direction):
            return echo
        if self._is_other_language(source, answer, direction.target):
            return Finding("language", hard=True)
        if _has_preamble(source, answer) and not speaks_of_it(source):
            return Finding("preamble", hard=True)
        if _is_in_circles(source, answer) and not _goes_in_circles(source.casefold(), _SOME_TIMES):
            return Finding("repetition", hard=True)
        return None

    def _echo(self, source: str, answer: str, direction: Direction) -> Finding | None:
        """The source said again. It may be right where it was in the target language already, or in a third one."""
        surely = _is_echo(source, answer)
        if surely is None:
            return None
        found = self._detector.detect(source)
        likely = found[0].code if found and found[0].confidence > _LIKELY else direction.source
        if likely == direction.target:
            return None
        return Finding("echo", hard=surely and likely == direction.source)

    def _is_other_language(self, source: str, answer: str, target: str) -> bool:
        """Whether an answer is long enough to tell, and surely in another language. What it took over from the source,
        such as names, does not count.
        """
        if target not in self._detector.languages:
            return False
        taken = set(_WORD.findall(source))
        own = " ".join(word for word in _WORD.findall(answer) if word not in taken or word.islower())
        if (
            sum(_WEIGHT if _script(letter) in _SCRIPTS["ja"] else 1 for letter in own if letter.isalpha())
            < _TELLING
        ):
            return False
        found = self._detector.detect(own)
        if not found or found[0].code == target or found[0].confidence < _SURE:
            return False
        return all(other.confidence <= _OUT for other in found if other.code == target)


def _soft(source: str, answer: str, direction: Direction, *, finished: bool) -> Finding | None:
    if _has_preamble(source, answer):
        return Finding("preamble", hard=False)
    if _is_in_circles(source, answer):
        return Finding("repetition", hard=False)
    stripped, original = answer.strip(), source.strip() or " "
    if _is_quoted(stripped) and not (original[0] in _ANY_QUOTE or original[-1] in _ANY_QUOTE):
        return Finding("quotes", hard=False)
    if finished and _is_other_length(original, stripped, direction):
        return Finding("length", hard=False)
    return None


def _has_preamble(source: str, answer: str) -> bool:
    return begins_with_preamble(answer) and not begins_with_preamble(source)


def _is_in_circles(source: str, answer: str) -> bool:
    return _goes_in_circles(answer) and not _goes_in_circles(source)


def _goes_in_circles(text: str, times: int = _TIMES) -> bool:
    end = text.rstrip(" \n.,!?…。！？、，")
    for period in range(1, min(_PERIOD, len(end) // times) + 1):
        turn = end[-period:]
        if end.endswith(turn * times) and any(character.isalpha() for character in turn):
            return True
    return False


def _placeholders(text: str) -> Counter[str]:
    return Counter(character for character in text if "\ue000" <= character <= "\uf8ff")


def _is_empty(source: str, answer: str) -> bool:
    said = any(character.isalnum() or "\ue000" <= character <= "\uf8ff" for character in answer)
    return not answer.strip() or (not said and any(character.isalnum() for character in source))


def _is_other_script(source: str, answer: str, target: str) -> bool:
    """Whether most of an answer is in letters of another script, or letters of one that neither the target nor the
    source has are among them. What the source has is a name that was kept.
    """
    wanted = _SCRIPTS.get(target)
    if wanted is None:
        return False
    taken = set(_WORD.findall(source))
    own = (word for word in _WORD.findall(answer) if word not in taken or _script(word[0]) in wanted)
    scripts = Counter(_script(letter) for word in own for letter in word if letter.isalpha())
    right = sum(scripts[script] for script in wanted) * (_WEIGHT if "CJK" in wanted else 1)
    others = sum(count for script, count in scripts.items() if script not in wanted)
    # Formulas, units and abbreviations are in Latin and Greek letters everywhere.
    foreign = sum(count for script, count in scripts.items() if script not in wanted | {"LATIN", "GREEK", ""})
    return foreign > 1 or others > max(2, right)


@lru_cache(maxsize=4096)
def _script(letter: str) -> str:
    """The script of a letter, as the first word of its name in Unicode; empty for marks that several scripts share."""
    name = unicodedata.name(letter, "").removeprefix("FULLWIDTH ").removeprefix("HALFWIDTH ")
    script = name.split(" ", 1)[0]
    if unicodedata.category(letter) in ("Lm", "Mn") or script in (
        "FEMININE",
        "MASCULINE",
        "MICRO",
        "MATHEMATICAL",
    ):
        return ""
    return script


def _is_echo(source: str, answer: str) -> bool | None:
    """Whether an answer is the source, or begins with it: surely, or because there may be no other word for it. None
    when it is not: names and numbers are the same everywhere.
    """
    said, heard = _plain(source), _plain(answer)
    # Each once, as it is said last: `No, no, no, no` tells no more than `no`.
    words = {word.casefold(): word for word in _WORD.findall(source)}.values()
    translatable = sum(word[0].islower() for word in words)
    ideographs = sum(_script(letter) in _SCRIPTS["ja"] for letter in source if letter.isalpha())
    surely = (len(words) > 3 and translatable > 1) or ideographs > 4
    if heard == said and (surely or translatable > 1):
        return surely
    return True if surely and heard.startswith(said + " ") else None


def _plain(text: str) -> str:
    return " ".join(_WORD.findall(text.casefold())) if _WORD.search(text) else text.strip()


def _is_quoted(text: str) -> bool:
    """Whether quotes are around the whole text."""
    inner = text[1:-1]
    return len(text) > 2 and text[0] + text[-1] in _QUOTES and text[0] not in inner and text[-1] not in inner


def _is_other_length(source: str, answer: str, direction: Direction) -> bool:
    share = _LENGTHS.get(direction.target, 1.0) / _LENGTHS.get(direction.source, 1.0)
    expected, found = _size(source) * share, _size(answer)
    return found > expected * _LONGEST + _MORE or found + _LESS < expected * _SHORTEST


def _size(text: str) -> int:
    ideographs = len(_IDEOGRAPH.findall(text))
    return len(text) + len(CJK.findall(text)) + ideographs
