"""Text as Apertium's programs pass it on, and back.

What is no word and no punctuation of ordinary text travels as a superblank, `[3]`, which stays what it is: addresses,
marks, symbols (some of which stop the programs), line breaks, and the characters that stand for phrases (see `masking`).
Source: https://wiki.apertium.org/wiki/Apertium_stream_format
"""

from __future__ import annotations

import re
import unicodedata
from itertools import groupby
from typing import Final

_ADDRESS: Final = re.compile(
    r"(?:\b\w+://|\bwww\.)\S*[\w/]|[\w.+-]+@[\w-]+(?:\.[\w-]+)+|<[/|]?\w[^<>\n]{0,60}>"
)
"""Of the net, of mail, and marks such as `<b>` and `<|end|>`."""
_ORDINARY: Final = frozenset(" .,;:!?¿¡'\"()-–—…«»“”‘’„‚%&€£")
_ENDS: Final = (".", "!", "?", "…", ":", ";")
_FULL_STOP: Final = ".[]"
"""Ends a text that does not end like a sentence, for the tagger, and is taken away again; as Apertium's own do."""
_TOKEN: Final = re.compile(
    r"\\(?P<escaped>.)|\[(?P<number>[0-9]+)\]|\[[^\]]*\]|(?P<plain>[^\\\[]+)", re.DOTALL
)


class Garbage(Exception):
    """The programs did not answer what they were asked.

    Args:
        what: one sentence, without payload.
    """

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what


class Framed:
    """A text for the programs, and how to read their answer to it.

    Args:
        text: one sentence.
        number: of the request; another one's answer is not taken for this one's.
    """

    def __init__(self, text: str, number: int) -> None:
        self._kept: list[str] = []
        self._end = f"[={number}\n]"
        text = unicodedata.normalize("NFC", text).strip()
        self._full_stop = not text.endswith(_ENDS)
        words, place = [], 0
        for address in _ADDRESS.finditer(text):
            words.append(self._words(text[place : address.start()]))
            words.append(self._keep(address[0]))
            place = address.end()
        words.append(self._words(text[place:]))
        self.request: bytes = "".join(
            (*words, _FULL_STOP if self._full_stop else "[]", self._end, "\0")
        ).encode()
        """What to write, up to and with the NUL."""

    def read(self, answer: bytes) -> str:
        """The translation, of what was read up to the NUL.

        Raises:
            Garbage: it is no answer to this.
        """
        try:
            text = answer.decode()
        except UnicodeDecodeError:
            raise Garbage("the answer is no UTF-8") from None
        if not text.endswith(self._end):
            raise Garbage("the answer has not the end of its text")
        text = text.removesuffix(self._end)
        if self._full_stop and text.endswith(_FULL_STOP):
            text = text.removesuffix(_FULL_STOP)
        said: list[str] = []
        missing = set(range(len(self._kept)))
        for token in _TOKEN.finditer(text):
            if token["number"] is None:
                said.append(token["escaped"] or token["plain"] or "")
                continue
            number = int(token["number"])
            if number not in missing:
                raise Garbage("the answer has what was not asked, or has it twice")
            missing.remove(number)
            said.append(self._kept[number])
        return "".join(said).strip()

    def _words(self, text: str) -> str:
        return "".join(
            "".join(run) if ordinary else self._keep("".join(run))
            for ordinary, run in groupby(text, key=_is_ordinary)
        )

    def _keep(self, text: str) -> str:
        self._kept.append(text)
        return f"[{len(self._kept) - 1}]"


def _is_ordinary(character: str) -> bool:
    """True for letters with their marks, digits and the punctuation of sentences."""
    return character in _ORDINARY or unicodedata.category(character)[0] in "LMN"
