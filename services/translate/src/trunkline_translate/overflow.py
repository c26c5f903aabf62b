"""How servers say that a prompt does not fit into the model."""

from __future__ import annotations

import re
from typing import Final

from trunkline_translate.engine import SentenceTooLong

_LIMITS: Final = (
    # vLLM, and what speaks like OpenAI's server; vLLM's engine itself, also behind Triton; llama.cpp.
    re.compile(r"maximum context length is (\d+)", re.IGNORECASE),
    re.compile(r"maximum model length of (\d+)", re.IGNORECASE),
    re.compile(r"available context size \((\d+)", re.IGNORECASE),
)
_TOKENS: Final = (
    re.compile(r"\((\d+) in the messages"),
    re.compile(r"(?:at least|has|resulted in|passed) (\d+) (?:input )?tokens"),
    re.compile(r"prompt \(length (\d+)\)"),
    re.compile(r"request \((\d+) tokens\)"),
)


def too_long(message: str) -> SentenceTooLong | None:
    """What a server's message says of a prompt that does not fit; None when it is about something else.

    Tokens that are not told are counted as one more than the limit.
    """
    limit = _first(_LIMITS, message)
    if limit is None:
        return None
    return SentenceTooLong(_first(_TOKENS, message) or limit + 1, limit)


def _first(patterns: tuple[re.Pattern[str], ...], message: str) -> int | None:
    found = (pattern.search(message) for pattern in patterns)
    return next((int(match[1]) for match in found if match), None)
