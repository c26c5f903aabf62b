"""How servers say that a prompt does not fit."""

from __future__ import annotations

import pytest

from trunkline_translate.overflow import too_long


@pytest.mark.parametrize(
    ("message", "tokens", "limit"),
    [
        (
            "This model's maximum context length is 512 tokens. However, you requested 560 tokens (460 in the "
            "messages, 100 in the completion). Please reduce the length of the messages or completion.",
            460,
            512,
        ),
        (
            "This model's maximum context length is 4096 tokens. However, you requested 0 output tokens and your "
            "prompt contains at least 4097 input tokens, for a total of at least 4097 tokens.",
            4097,
            4096,
        ),
        (
            "'max_tokens' or 'max_completion_tokens' is too large: 8000. This model's maximum context length is "
            "4096 tokens and your request has 2778 input tokens (8000 > 4096 - 2778).",
            2778,
            4096,
        ),
        ("The decoder prompt (length 600) is longer than the maximum model length of 512.", 600, 512),
        ("The request is longer than the maximum model length of 512.", 513, 512),
        (
            "request (5000 tokens) exceeds the available context size (4096 tokens), try increasing it",
            5000,
            4096,
        ),
    ],
)
def test_the_tokens_and_the_limit_are_read(message: str, tokens: int, limit: int) -> None:
    found = too_long(message)
    assert found is not None
    assert (found.tokens, found.limit) == (tokens, limit)


@pytest.mark.parametrize("message", ["", "CUDA out of memory", "model 512 is not found", "length 5"])
def test_other_messages_say_nothing_of_it(message: str) -> None:
    assert too_long(message) is None
