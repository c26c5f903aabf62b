"""Marks with white space behind them: the rules of scripts with capitals."""

from __future__ import annotations

import re

from trunkline_translate.abbreviations import Lexicon
from trunkline_translate.marks import BLANK_LINE, TOKEN, WORD, Place, skip_space

_OPENING = " \u00a0\u202f\t\"'“”„‚‘’«»‹›([{¿¡—–-―*_"
"""What may stand between white space and the first letter of a sentence."""
_INITIAL = re.compile(r"(?:[^\W\d_]\.-?)*[^\W\d_]\Z")
"""`J`, `J.-P`, `U.S`"""
_HESITATION = 2
"""Words in front of an ellipsis that are no sentence yet."""


def ends(place: Place, closed: int, lexicon: Lexicon) -> bool | None:
    """A mark with white space behind it."""
    text = place.text
    following = skip_space(text, closed)
    if BLANK_LINE.search(text, closed, following):
        return True
    if place.at_end(following):
        return True if place.closed else None
    if text[following] in ".!?…":
        if place.at_end(following + 1) and not place.closed:
            return None
        if not text[following + 1 : following + 2].isdigit():
            return False
    letter = following
    while letter < len(text) and text[letter] in _OPENING:
        letter += 1
    if place.at_end(letter):
        return True if place.closed else None
    mark = text[place.mark : place.after]
    lower = text[letter].islower()
    said = text[place.start : place.mark]
    if mark != "." and not mark.startswith(".."):
        if "…" in mark and "?" not in mark and "!" not in mark:
            return _ellipsis(said, lower)
        if lower:
            return _casual(said) and closed == place.after and letter == following
        return _not_who_said_it(place, closed, letter, lexicon)
    if len(mark) > 1:
        return _ellipsis(said, lower) if set(mark) == {"."} else not lower
    return _full_stop(place, closed, letter, lexicon)


def _ellipsis(said: str, lower: bool) -> bool:
    """Hesitation is no end of a sentence, and neither is what goes on in lower case."""
    return not lower and len(WORD.findall(said)) > _HESITATION


def _casual(said: str) -> bool:
    """Whether somebody writes without capitals."""
    letters = WORD.search(said)
    return letters is not None and letters[0][0].islower()


def _not_who_said_it(place: Place, closed: int, letter: int, lexicon: Lexicon) -> bool | None:
    """False for what John asks in `“Why?” John asked.`"""
    if not lexicon.said or not any(character in "\"'”’“»" for character in place.text[place.after : closed]):
        return True
    position = letter
    for _ in range(4):
        if place.at_end(position) and not place.closed:
            return None
        word = WORD.match(place.text, position)
        if word is None:
            return True
        if place.at_end(word.end()) and not place.closed:
            return None
        if word[0] in lexicon.said:
            return False
        if word[0][0].islower() or place.text[word.end() : word.end() + 1] != " ":
            return True
        position = word.end() + 1
    return True


def _full_stop(place: Place, closed: int, letter: int, lexicon: Lexicon) -> bool | None:
    """One full stop with white space behind it, and what is behind that."""
    text = place.text
    tail = text[max(place.start, place.mark - 40) : place.mark]
    first = text[letter]
    if lexicon.patterns["never"].search(tail):
        return False
    token = TOKEN.search(tail)
    word = token[0] if token else ""
    if first.isdigit():
        return not (lexicon.patterns["numeric"].search(tail) or _is_street(word) or _is_marker(place, word))
    if first.islower():
        if word.isdigit() and lexicon.ordinal_cues:
            return False
        return (
            not abbreviated(tail, word, lexicon)
            and _casual(text[place.start : place.mark])
            and closed == place.after
        )
    if _is_marker(place, word):
        return False
    if not ((word.isdigit() and lexicon.ordinal_nouns) or abbreviated(tail, word, lexicon)):
        return True
    following = WORD.match(text, letter)
    if following and place.at_end(following.end()) and not place.closed:
        return None
    name = following[0] if following else ""
    if word.isdigit():
        return not _is_ordinal(place, word, name, lexicon)
    if lexicon.patterns["ends"].search(tail):
        return name not in lexicon.dates
    if lexicon.patterns["names"].search(tail):
        return not name or name in lexicon.starters
    if _INITIAL.match(word):
        # Another initial follows, or the rest of an abbreviation.
        return text[letter + 1 : letter + 2] != "." and _is_label(place, word, name, lexicon)
    # `Fig. A`, but `No. I won't.`
    return len(name) != 1 or name in lexicon.starters


def abbreviated(tail: str, word: str, lexicon: Lexicon) -> bool:
    """Whether a full stop may belong to the word before it.

    Args:
        tail: the text up to the full stop, or enough of it.
        word: its last word.
        lexicon: of its language.
    """
    return bool(_INITIAL.match(word)) or any(pattern.search(tail) for pattern in lexicon.patterns.values())


def _is_street(word: str) -> bool:
    """`Bahnhofstr. 5`"""
    return word.endswith("str")


def _is_marker(place: Place, word: str) -> bool:
    """The number of an item of a list: `1. Open the box.`"""
    before = place.text[place.start : place.mark - len(word)]
    return word.isdigit() and len(word) <= 3 and not before.strip(_OPENING + "\n")


def _is_ordinal(place: Place, word: str, name: str, lexicon: Lexicon) -> bool:
    """`am 3. Mai`, `der 1. FC`"""
    if len(word) > 3:
        return False
    if name in lexicon.ordinal_nouns:
        return True
    cue = _last_word(place, word)
    return cue.lower() in lexicon.ordinal_cues and name not in lexicon.starters


def _is_label(place: Place, word: str, name: str, lexicon: Lexicon) -> bool:
    """Whether a letter with a full stop is what something is called (`plan B.`), and no initial."""
    if "." in word:
        return not name or name in lexicon.starters
    if word.islower():
        # `18 h.` is a unit, all others are parts of abbreviations.
        return (
            word in "hmgls"
            and place.text[max(place.start, place.mark - 3) : place.mark - 1].rstrip()[-1:].isdigit()
        )
    cue = _last_word(place, word)
    if cue.lower() in lexicon.labels or (word == "I" and cue.islower()):
        return True
    if not cue or cue[0].isupper() or cue in lexicon.links:
        return bool(cue) and name in lexicon.starters
    return True


def _last_word(place: Place, word: str) -> str:
    """The word before the last one."""
    words = WORD.findall(place.text, max(place.start, place.mark - len(word) - 40), place.mark - len(word))
    return words[-1] if words else ""
