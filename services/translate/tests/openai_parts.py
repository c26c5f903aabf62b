"""An engine on the HTTP server of the tests, and answers of that server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from openai_http import OpenAi, Reply, spoken
from remote_parts import EN_ES, WORDS

from trunkline_translate.openai_server import OpenAiEngine
from trunkline_translate.prompts import Prompt, Style


@asynccontextmanager
async def engine(server: OpenAi, style: Style = Style.CODES, **options: Any) -> AsyncIterator[OpenAiEngine]:
    made = OpenAiEngine(server.url, [EN_ES], Prompt(style, ("<|end|>",)), **options)
    async with made:
        yield made


async def answers(reply: Reply) -> None:
    await spoken(reply, *WORDS)


async def endless(reply: Reply) -> None:
    await reply.start()
    while True:
        await reply.delta("otra vez ")


async def stalls(reply: Reply) -> None:
    await reply.start()
    await reply.delta("¿Dón")
    await asyncio.Event().wait()
