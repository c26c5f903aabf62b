"""Marks that need no white space behind them: the rules of Chinese and Japanese."""

from __future__ import annotations

import re

from trunkline_translate.abbreviations import Lexicon
from trunkline_translate.latin import abbreviated
from trunkline_translate.marks import CJK, CJK_OPENERS, TOKEN, WORD, Place, skip_space

_HESITANT = re.compile(
    r"(?:那个|那個|这个|這個|嗯|呃|哦|啊|等等|等一下|我|你|您|他|她|我们|我們|然后|然後|但是|可是|不过|不過|所以|因为|因為|而且|如果|就是"
    r"|あの|あのう|えっと|ええと|えーと|その|うん|ええ|まあ|そして|でも|だから|それで|しかし"
    r"|[はがをにとへもで]|って|けど|けれど|ので|から|たら|れば|ても)\Z"
)
"""Words that are said before one thinks."""
_WANTS_MORE = re.compile(r"(?:[はがをへ]|けど|けれど|ので|って|待って|くて|という)\Z")
"""Japanese clauses that are not complete."""
_JAPANESE_GOES_ON = re.compile(
    r"(?!ところ|とても|とにか|とりあ|ときど|とはい|はい|がんば|でも|では|もう|もし|もち|もっ|やっ|やは|やめ|だから|だけど|だって|にわか|のど|にほ)"
    r"(?:と|って|は|が|を|に|の|で|も|や|へ|から|まで|など|なんて|なら|みたい|ばかり|くらい|だ|じゃ)"
)
"""Particles, but not the words that begin like them: a quote is a part of the sentence."""
_JAPANESE_SAYS = re.compile(r"と(?:言|思|聞|叫|尋|訊|答|呼|いう|いっ|書|彼)")
_CHINESE_SAYS = re.compile(
    r"[^，。！？、；：,.!?\s“”「」『』]{1,8}?(?:说|說|问|問|喊|叫|答|道|想|笑|吼|嚷|曰)(?=[道着著：:，,。！？了]|\Z)"
)
"""Somebody, and a verb of saying."""
_PARTICLES = 4
"""Characters that tell a particle from the beginning of a word."""


def ends(place: Place, closed: int, lexicon: Lexicon) -> bool | None:
    """A mark that needs no white space behind it."""
    text, mark = place.text, place.text[place.mark : place.after]
    before = text[place.mark - 1 : place.mark] if place.mark > place.start else ""
    following = text[closed]
    if following in "、，,；;：:)）」』〉》】":
        return False
    if mark == "." and not CJK.match(before):
        return _attached_stop(place, lexicon)
    if mark in ("．", ".") and before.isdigit() and following.isdigit():
        return False
    if all(character in "….‥" for character in mark):
        return _ellipsis(place, closed)
    if closed > place.after:
        return _behind_closers(place, closed)
    behind = text[closed : closed + _PARTICLES]
    attached = mark in ("!", "?") and before.isascii() and before.isalpha()
    if (attached or following == "と") and len(behind) < _PARTICLES and not place.closed:
        return None
    if attached:
        # Names such as Yahoo!: a Japanese particle follows.
        return not _JAPANESE_GOES_ON.match(behind)
    if following == "と":
        return not _JAPANESE_SAYS.match(behind)
    return True


def _attached_stop(place: Place, lexicon: Lexicon) -> bool:
    """A full stop between Latin letters and Chinese or Japanese ones: `D.C.附近`."""
    tail = place.text[max(place.start, place.mark - 40) : place.mark]
    token = TOKEN.search(tail)
    word = token[0] if token else ""
    return not word.isdigit() and bool(WORD.search(word)) and not abbreviated(tail, word, lexicon)


def _ellipsis(place: Place, closed: int) -> bool | None:
    """Ends a sentence unless it is hesitation: the words before it want more, or are begun again behind it."""
    text = place.text
    said = text[place.start : place.mark]
    clause = re.split(r"[、，,。！？：:]", said)[-1].lstrip("".join(CJK_OPENERS))
    if closed > place.after:
        return _behind_closers(place, closed)
    position = skip_space(text, closed)
    if place.at_end(position):
        return True if place.closed else None
    following = text[position]
    if not clause or (len(clause) <= 6 and _HESITANT.search(clause)) or _WANTS_MORE.search(clause):
        return False
    return following != clause[0] and following not in "とっ的"


def _behind_closers(place: Place, closed: int) -> bool | None:
    """Behind quotes and brackets a sentence goes on when they are a part of it, or when somebody is said to speak."""
    text = place.text
    opened = _opener(text, place.start, place.after, text[place.after : closed])
    if opened > place.start and text[opened - 1] not in "：:，,、。！？ \n":
        embedded = not _is_bracket(text[opened])
    else:
        embedded = False
    if text[closed].isspace():
        return True
    behind = text[closed:]
    if embedded and text[closed] not in CJK_OPENERS:
        # `彼は「助けて！」と叫んだ`, `他喊“救命！”就跑了`
        return False
    if len(behind) < 12 and not place.closed and not re.search(r"[，。！？、,.!?\s]", behind):
        return None
    # Who speaks was said before a colon.
    introduced = opened > place.start and text[opened - 1] in "：:"
    return not (_JAPANESE_GOES_ON.match(behind) or (not introduced and _CHINESE_SAYS.match(behind)))


def _is_bracket(character: str) -> bool:
    return character in "（(【〔［"


def _opener(text: str, start: int, end: int, closers: str) -> int:
    """Where the quotes opened that close here; -1 when they did not within the sentence."""
    pairs = {
        "」": "「",
        "』": "『",
        "”": "“",
        "）": "（",
        ")": "(",
        "》": "《",
        "〉": "〈",
        "】": "【",
        '"': '"',
        "’": "‘",
    }
    openers = [pairs[closer] for closer in closers if closer in pairs]
    return text.rfind(openers[-1], start, end) if openers else -1
