"""Sentences for engines that are asked over a network, and their whole answers."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

from trunkline_translate.engine import Ask, Delta, Done, Engine
from trunkline_translate.language import Direction

BOUND_S = 10.0
EN_ES = Direction("en", "es")
WORDS = ("¿Dón", "de está", " la estación?")


async def whole(made: Engine, ask: Ask) -> tuple[str, Done]:
    async with asyncio.timeout(BOUND_S), aclosing(made.translate(ask)) as pieces:
        said = [piece async for piece in pieces]
    assert isinstance(said[-1], Done)
    deltas = [piece for piece in said[:-1] if isinstance(piece, Delta)]
    assert len(deltas) == len(said) - 1
    assert all(delta.text for delta in deltas)
    return "".join(delta.text for delta in deltas), said[-1]


def ask(text: str = "Where is the station?") -> Ask:
    return Ask(text, EN_ES)
