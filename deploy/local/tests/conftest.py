from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

_HERE = Path(__file__).parent
for _parts in (_HERE, _HERE.parents[2] / "tests"):  # importlib mode leaves the tests' own parts out of it
    sys.path.insert(0, str(_parts))
from scripted_speech import ScriptedSpeech, serving  # noqa: E402
from scripted_translate import ScriptedTranslate, translating  # noqa: E402


@pytest.fixture
async def speech() -> AsyncIterator[ScriptedSpeech]:
    """A speech service that says what a script holds, behind the real gateway."""
    async with serving() as service:
        yield service


@pytest.fixture
async def translator() -> AsyncIterator[ScriptedTranslate]:
    """A translation service that knows what a script holds, behind the real gateway."""
    async with translating() as service:
        yield service
