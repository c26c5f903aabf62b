"""How long an answer may be."""

from __future__ import annotations

from typing import Final

from trunkline_translate.engine import Ask

_SHORTEST: Final = 64
_PER_CHARACTER: Final = 3
"""A character of Chinese is a word of English, and a byte may be a token."""


def most_tokens(ask: Ask, limit: int | None = None) -> int:
    """Most tokens of the translation.

    As many as are asked for, or more than any translation of the text has, so that a model that does not find an end
    is stopped.

    Args:
        ask: the sentence.
        limit: of the model, for prompt and answer together: half of it is left to the prompt.
    """
    wanted = ask.max_tokens or _SHORTEST + _PER_CHARACTER * len(ask.text)
    return min(wanted, max(1, limit // 2)) if limit else wanted


def likely_tokens(ask: Ask) -> int:
    """Tokens that a translation has at most, as a rule: with room for fewer it is not worth beginning."""
    likely = 8 + len(ask.text) // 2
    return min(likely, ask.max_tokens) if ask.max_tokens else likely
