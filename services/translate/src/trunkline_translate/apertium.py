"""Apertium: translation by rules, on any machine, for the pairs of languages that are installed.

Source: https://www.apertium.org, of which Debian has the programs (`apertium`) and the pairs (`apertium-eng-spa`).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Collection
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from trunkline_translate.apertium_modes import installed
from trunkline_translate.apertium_pair import PROOF, Pair
from trunkline_translate.engine import (
    Ask,
    Delta,
    Done,
    EngineFailed,
    FinishReason,
    Identity,
    Piece,
    Priority,
    SentenceTooLong,
)
from trunkline_translate.language import Direction

FORMALITY_IGNORED: Final = "formality_ignored"
"""Degradation: its rules know one way to address somebody."""
LONGEST: Final = 5_000
"""Characters of a sentence."""
_PROOF_S: Final = 1.5
"""Longest wait of a probe for those pairs that it tries."""
_WORD: Final = re.compile(r"\S+")


class ApertiumEngine:
    """Translates with the pairs that a directory of mode files names. An async context manager.

    A sentence comes whole: rules need all of it. It has words for tokens, as far as a limit goes.

    Args:
        modes: the directory.
        queue: sentences that may wait for each pair.
        answer_s: longest wait for a sentence's translation.
        idle_s: a pair's programs end when there was nothing to do for so long.
    """

    name = "apertium"
    takes_context = False

    def __init__(self, modes: Path, *, queue: int = 64, answer_s: float = 5.0, idle_s: float = 300.0) -> None:
        self._modes = modes
        self._queue = queue
        self._answer_s = answer_s
        self._idle_s = idle_s
        self._read_ns = -1
        self._pairs: dict[Direction, Pair] = {}
        self._refuted: set[Direction] = set()
        """Pairs that failed their proof."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._pairs:
            _, pair = self._pairs.popitem()
            await pair.close()

    @property
    def directions(self) -> Collection[Direction]:
        """See `Engine.directions`. A pair that is installed and does not work is none."""
        return self._pairs.keys() - self._refuted

    @property
    def error(self) -> str:
        """See `Engine.error`."""
        if not self._pairs:
            return f"{self._modes} names no pair of languages that can run: install one, such as apertium-eng-spa"
        if self.directions:
            return ""
        return "; ".join(f"{pair.mode.name}: {pair.failure}" for pair in self._pairs.values())

    def groups(self) -> dict[Direction, int]:
        """The process groups of the pairs whose programs run."""
        return {direction: pair.group for direction, pair in self._pairs.items() if pair.group is not None}

    def identity(self, model: str = "") -> Identity:
        """See `Engine.identity`."""
        return Identity(self.name, f"engines/{self.name}", device="CPU")

    async def translate(self, ask: Ask, model: str = "") -> AsyncGenerator[Piece, None]:
        """See `Engine.translate`."""
        if len(ask.text) > LONGEST:
            raise SentenceTooLong(len(ask.text), LONGEST)
        pair = self._pairs.get(ask.direction)
        if pair is None:
            raise EngineFailed(f"no pair for {ask.direction} is installed", counts=False)
        text = await pair.translate(ask.text, ask.priority, ask.due)
        cut = _first_words(text, ask.max_tokens)
        if cut:
            yield Delta(cut)
        yield Done(
            FinishReason.STOP if cut == text else FinishReason.LENGTH,
            degradations=(FORMALITY_IGNORED,) if ask.formality else (),
            made_by=replace(self.identity(), model_version=f"engines/{self.name}/{pair.mode.name}"),
        )

    async def probe(self) -> None:
        """See `Engine.probe`. Finds pairs that were installed meanwhile, and tries those whose last sentence failed."""
        await self._refresh()
        if not self._pairs:
            raise EngineFailed(self.error)
        doubted = [direction for direction, pair in self._pairs.items() if pair.failure]
        if not doubted and not self._proven:
            doubted = [min(self._pairs, key=lambda each: (len(self._pairs[each].mode.stages), each))]
        try:
            # Some pairs take seconds to start; the others need not wait for them.
            async with asyncio.timeout(_PROOF_S):
                await asyncio.gather(*map(self._prove, doubted))
        except TimeoutError:
            if not self._proven:
                raise EngineFailed("its programs are starting: wait") from None
        self._refuted -= self._proven
        if not self.directions:
            raise EngineFailed(self.error)

    @property
    def _proven(self) -> set[Direction]:
        return {direction for direction, pair in self._pairs.items() if pair.proven}

    async def _refresh(self) -> None:
        changed_ns = await asyncio.to_thread(_changed_ns, self._modes)
        if changed_ns == self._read_ns:
            return
        modes = await asyncio.to_thread(installed, self._modes)
        for direction, pair in list(self._pairs.items()):
            if modes.get(direction) != pair.mode:
                del self._pairs[direction]
                self._refuted.discard(direction)
                await pair.close()
        for direction, mode in modes.items():
            if direction not in self._pairs:
                self._pairs[direction] = Pair(mode, self._queue, self._answer_s, self._idle_s)
        self._read_ns = changed_ns

    async def _prove(self, direction: Direction) -> None:
        try:
            await self._pairs[direction].translate(PROOF, Priority.INTERACTIVE, float("inf"))
        except EngineFailed as failed:
            if failed.counts:
                self._refuted.add(direction)


def _changed_ns(directory: Path) -> int:
    """When something was put into a directory, or taken out; 0 when there is none."""
    try:
        return directory.stat().st_mtime_ns
    except OSError:
        return 0


def _first_words(text: str, count: int) -> str:
    """At most so many words of a text; all for 0."""
    if not count:
        return text
    words = list(_WORD.finditer(text))
    return text if len(words) <= count else text[: words[count - 1].end()]
