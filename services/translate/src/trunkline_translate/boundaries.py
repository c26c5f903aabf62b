"""Whether a sentence ends at a mark.

All of it looks at a text from the start of a sentence to a little behind the mark. Where that little has not arrived
yet, and what it will be makes a difference, the answer is None; once it is given it stays, whatever follows.
"""

from __future__ import annotations

import re

from trunkline_translate import cjk, latin
from trunkline_translate.abbreviations import Lexicon
from trunkline_translate.marks import BLANK_LINE, CJK, CJK_OPENERS, Place, skip_space

_FULL_WIDTH = "。！？｡．‼⁇⁈⁉"
_EMOJI = "[\U0001f1e6-\U0001f1ff\U0001f300-\U0001faff\u2600-\u27bf\ufe0f\u200d]"
_OPEN = re.compile(r"(?:[“\"']|\[\d{0,3}|[^\S\n\u2028\u2029])\Z")
"""What opens or closes something, or stands before an emoji, depending on what follows."""
_UNSEEN = "\u200b\u200e\u200f\u2060\ufeff"
"""They hide the white space behind a mark, which is wanted behind those that are not full width."""
_FOOTNOTE = re.compile(r"\[\d{1,3}\]")
_TRAILING_EMOJI = re.compile(rf"[^\S\n\u2028\u2029]?{_EMOJI}+")


def end(place: Place, lexicon: Lexicon) -> int | None:
    """Where the sentence ends that the mark is in: behind the mark and what belongs to it. -1 when it goes on there,
    None when that depends on text that did not arrive yet.
    """
    if place.text[place.mark] in "\n\u2028\u2029":
        return _line_end(place)
    if place.at_end(place.after):
        return len(place.text) if place.closed else None
    closed = _closers(place, lexicon)
    if place.at_end(closed):
        return closed if place.closed else None
    if place.text[closed] in ".!?…。！？":
        return -1
    full_width = any(character in _FULL_WIDTH for character in place.text[place.mark : place.after])
    following = place.text[closed]
    before = place.text[place.mark - 1] if place.mark > place.start else ""
    hesitant = place.text[place.mark] in "…‥"
    if full_width or (CJK.match(before) and (hesitant or not following.isascii())) or CJK.match(following):
        ends = cjk.ends(place, closed, lexicon)
    elif following.isspace():
        ends = latin.ends(place, closed, lexicon)
    else:
        ends = following in CJK_OPENERS and following not in "“" and bool(CJK.match(before))
    if ends is None:
        return None
    return closed if ends else -1


def _line_end(place: Place) -> int | None:
    """A line's end ends a sentence unless the next line goes on in lower case; an empty line always does."""
    if BLANK_LINE.match(place.text, place.mark):
        return place.mark
    following = skip_space(place.text, place.after)
    if BLANK_LINE.search(place.text, place.mark, following):
        return place.mark
    if place.at_end(following):
        return place.mark if place.closed else None
    return -1 if place.text[following].islower() else place.mark


def _closers(place: Place, lexicon: Lexicon) -> int:
    """The end of the quotes, brackets and emoji that belong to the mark.

    At the end of the view it is the end of the view: what is in between may go on.
    """
    text, position = place.text, place.after
    inside = text[place.start : place.mark]
    while position < len(text):
        character = text[position]
        if not place.closed and _OPEN.match(text, position):
            return len(text)
        if character in "\u00a0\u202f " and text[position + 1 : position + 2] in ("»", "›", ""):
            if position + 1 == len(text):
                return position if place.closed else len(text)
            if not (
                inside.count("«") > inside.count("»") or (lexicon.closes_after_space and "»" not in inside)
            ):
                break
            position += 2
        elif (
            character in ")]}」』）》〉】〕］*_"
            or (character in _UNSEEN and text[place.mark] not in _FULL_WIDTH)
            or character in "”’›‘"
            or _closes(character, text, position, inside)
        ):
            position += 1
        elif footnote := _FOOTNOTE.match(text, position):
            position = footnote.end()
        elif emoji := _TRAILING_EMOJI.match(text, position):
            position = emoji.end()
        else:
            break
    return position


def _closes(character: str, text: str, position: int, inside: str) -> bool:
    """Whether a quote that opens as well as closes, closes."""
    if character == "»":
        return True
    if character == "«":
        return "»" in inside
    if character == "“":
        return "„" in inside or text[position + 1 : position + 2].isspace()
    if character in "\"'":
        following = text[position + 1 : position + 2]
        return inside.count(character) % 2 == 1 or not CJK.match(following)
    return False
