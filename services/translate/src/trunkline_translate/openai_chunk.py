"""One event of a streamed answer in OpenAI's chat interface."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Final

_HALF: Final = re.compile(r"[\ud800-\udfff]")
"""Of a pair that JSON may escape a character with. Alone it is no text: nothing can carry it on."""


class Garbage(Exception):
    """An event that cannot be read."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """What one event says."""

    text: str = ""
    finish_reason: str = ""
    """Set with the last text."""
    counted: bool = False
    """True when it has the counts."""
    prompt_tokens: int = 0
    completion_tokens: int = 0


def read(data: str) -> Chunk:
    """What an event says.

    Raises:
        Garbage: it cannot be read, or it is an error.
    """
    try:
        event = json.loads(data)
    except ValueError:
        raise Garbage("an event that is no JSON") from None
    if not isinstance(event, dict):
        raise Garbage("an event that is no object")
    if event.get("error"):
        raise Garbage("an error in the middle of an answer")
    choices = event.get("choices")
    usage = event.get("usage")
    if not isinstance(choices, list):
        raise Garbage("an event without choices")
    text, reason = "", ""
    if choices:
        choice = choices[0]
        delta = choice.get("delta") if isinstance(choice, dict) else None
        if not isinstance(delta, dict):
            raise Garbage("a choice without a delta")
        content = delta.get("content")
        finish = choice.get("finish_reason")
        text = content if isinstance(content, str) else ""
        if _HALF.search(text):
            raise Garbage("half of a character")
        reason = finish if isinstance(finish, str) else ""
    if isinstance(usage, dict):
        return Chunk(text, reason, True, _count(usage, "prompt_tokens"), _count(usage, "completion_tokens"))
    return Chunk(text, reason)


def _count(usage: dict[str, object], name: str) -> int:
    value = usage.get(name)
    return value if isinstance(value, int) and value > 0 else 0
