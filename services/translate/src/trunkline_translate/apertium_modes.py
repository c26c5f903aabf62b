"""The pairs of languages that Apertium has on this machine, as its mode files tell.

A mode file is a shell pipeline with places for the options of the generator (`$1`) and of the tagger (`$2`).
Source: https://wiki.apertium.org/wiki/Modes
"""

from __future__ import annotations

import re
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from trunkline_translate.language import Direction

_SUFFIX: Final = ".mode"
_NAME: Final = re.compile(r"([a-z]{2,3})-([a-z]{2,3})")
"""Of a plain pair. `eng-cat_valencia` is a variety of one, `eco-fr-es` a smaller one."""
_UNMARKED: Final = "-n"
"""The generator's option that leaves unknown words as they are, without the mark `*`."""
_NULL_FLUSH: Final = "-z"
"""Of every stage: a NUL byte ends a text, and everything so far is to be answered."""
_SHORT: Final = {
    "afr": "af",
    "arg": "an",
    "bel": "be",
    "bre": "br",
    "bul": "bg",
    "cat": "ca",
    "ces": "cs",
    "cym": "cy",
    "dan": "da",
    "deu": "de",
    "eng": "en",
    "epo": "eo",
    "eus": "eu",
    "fra": "fr",
    "glg": "gl",
    "hin": "hi",
    "ind": "id",
    "isl": "is",
    "ita": "it",
    "mkd": "mk",
    "nld": "nl",
    "nno": "nn",
    "nob": "nb",
    "nor": "no",
    "oci": "oc",
    "pol": "pl",
    "por": "pt",
    "ron": "ro",
    "rus": "ru",
    "slv": "sl",
    "spa": "es",
    "srd": "sc",
    "swe": "sv",
    "ukr": "uk",
    "urd": "ur",
    "zlm": "ms",
}
"""ISO 639-3, as newer pairs are named, to 639-1, as older ones and this service's languages are."""


@dataclass(frozen=True, slots=True)
class Mode:
    """A pair that is installed."""

    name: str
    """Such as `eng-spa`."""
    stages: tuple[tuple[str, ...], ...]
    """Programs with their arguments, each of which reads what the one before it writes. They go on after a NUL."""


def installed(directory: Path) -> dict[Direction, Mode]:
    """The pairs that can run: whose programs and files are there. Empty when there is no such directory."""
    found: dict[Direction, Mode] = {}
    for file in sorted(directory.glob(f"*{_SUFFIX}")):
        name = _NAME.fullmatch(file.name.removesuffix(_SUFFIX))
        if name is None:
            continue
        direction = Direction(*(_SHORT.get(code, code) for code in name.groups()))
        if len(direction.source) == len(direction.target) == 2 and (stages := _stages(file)):
            found[direction] = Mode(name[0], stages)
    return found


def _stages(file: Path) -> tuple[tuple[str, ...], ...]:
    """The stages of a mode file; none when one of them cannot run, or it is no plain pipeline."""
    try:
        words = shlex.shlex(file.read_text("utf-8"), posix=True, punctuation_chars="|")
        words.whitespace_split = True
        words.commenters = ""
        stages: list[list[str]] = [[]]
        for word in words:
            if word == "|":
                stages.append([])
            else:
                stages[-1].append(word)
    except (OSError, ValueError):
        return ()
    if not all(stage and _runs(stage) for stage in stages):
        return ()
    return tuple(
        (
            stage[0],
            _NULL_FLUSH,
            *(_UNMARKED if word == "$1" else word for word in stage[1:] if word != "$2"),
        )
        for stage in stages
    )


def _runs(stage: list[str]) -> bool:
    """True when the program and the files of a stage are there."""
    return shutil.which(stage[0]) is not None and all(
        Path(word).exists() for word in stage[1:] if word.startswith("/")
    )
