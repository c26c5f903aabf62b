"""A version of a translation model that is loaded: a sentence in, its translation out piece by piece."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

from trunkline_translate.answer_length import likely_tokens, most_tokens
from trunkline_translate.chat_template import ChatTemplate, TemplateFailed, special_tokens
from trunkline_translate.engine import Ask, Delta, Done, EngineFailed, FinishReason, Piece
from trunkline_translate.facts import Facts
from trunkline_translate.genai_driver import Driver, Work
from trunkline_translate.genai_messages import State
from trunkline_translate.prompts import Prompt


class GenaiModel:
    """A version of a translation model.

    Args:
        name: `models/{model}/versions/{version}`.
        digest: of the version.
        directory: its files.
        facts: what its check found.
        driver: runs it.
        size_bytes: what it takes of memory.

    Raises:
        TemplateFailed: its chat template is malformed.
    """

    def __init__(
        self, name: str, digest: str, directory: Path, facts: Facts, driver: Driver, size_bytes: int
    ) -> None:
        self.name = name
        self.digest = digest
        self.size_bytes = size_bytes
        self.directions = frozenset(facts.directions)
        self.context_pairs = facts.context_pairs
        self.driver = driver
        self._template = ChatTemplate.read(directory)
        self._prompt = Prompt(facts.style, special_tokens(directory), facts.context_pairs)

    async def translate(self, ask: Ask) -> AsyncGenerator[Piece, None]:
        """See `Engine.translate`."""
        try:
            prompt = self._template.render(self._prompt.messages(ask))
        except TemplateFailed as failure:
            raise EngineFailed(str(failure)) from failure
        work = Work(prompt, most_tokens(ask), likely_tokens(ask), ask.priority.value, ask.due)
        ticket = self.driver.submit(work)
        answer = self._prompt.answer()
        try:
            async for text in ticket:
                if said := answer.feed(text):
                    yield Delta(said)
                if answer.ended:
                    # What comes after a token for control is no translation, and nobody waits for it.
                    break
            if rest := answer.end():
                yield Delta(rest)
            ended = ticket.ended
            yield Done(
                FinishReason.LENGTH if ended and ended.state is State.LENGTH else FinishReason.STOP,
                ended.prompt_tokens if ended else 0,
                ended.completion_tokens if ended else 0,
            )
        finally:
            ticket.close()

    def close(self) -> None:
        """Gives its memory back. Nobody uses it any more."""
        self.driver.close()
