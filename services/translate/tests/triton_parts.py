"""An engine on the Triton server of the tests, and answers of that server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from remote_parts import EN_ES, WORDS
from triton_server import Asked, Response, Triton, said

from trunkline_translate.chat_template import ChatTemplate
from trunkline_translate.prompts import Prompt, Style
from trunkline_translate.triton import TritonEngine

TEMPLATE = ChatTemplate(
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}<|assistant|>", {}
)
SPECIAL = ("<|system|>", "<|user|>", "<|assistant|>", "<|end|>")


@asynccontextmanager
async def engine(server: Triton, *, model: str = "translator") -> AsyncIterator[TritonEngine]:
    made = TritonEngine(server.target, model, [EN_ES], Prompt(Style.CODES, SPECIAL), TEMPLATE)
    async with made:
        yield made


async def flagged(server: Triton, asked: Asked) -> AsyncIterator[Response]:
    """As the vLLM backend ends: the final flag is on the last text."""
    for place, word in enumerate(WORDS):
        last = place == len(WORDS) - 1
        yield said(word, finish="stop" if last else "None", prompt_tokens=9, tokens=2, final=last)


async def emptied(server: Triton, asked: Asked) -> AsyncIterator[Response]:
    """As PyTriton ends: a response with nothing in it."""
    for word in WORDS:
        yield said(word, final=False)
    yield said(final=True)
