"""That a pipeline works: translations in every direction, and what is longest."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from trunkline_translate.chat_template import ChatTemplate, TemplateFailed, special_tokens
from trunkline_translate.engine import Ask, Exchange, Formality
from trunkline_translate.facts import Facts
from trunkline_translate.genai_messages import State
from trunkline_translate.genai_pipeline import Generation, Pipeline
from trunkline_translate.prompts import FIRST, Prompt

_TOKENS: Final = 8
"""Of each answer: what it says does not matter."""
_SOURCE: Final = f"12, {chr(FIRST)}: Ä\u00f1\u00e7 \u65e5\u672c."
_FILLING: Final = " 1"


class TrialFailed(Exception):
    """The pipeline does not work. The text says why."""


def prove(pipeline: Pipeline, directory: Path, facts: Facts) -> None:
    """Runs a pipeline until all of its graphs have run at the sizes they will have.

    Raises:
        TrialFailed: it does not work.
        Exception: the pipeline failed.
    """
    try:
        template = ChatTemplate.read(directory)
        prompt = Prompt(facts.style, special_tokens(directory), facts.context_pairs)
        context = (Exchange(_SOURCE, _SOURCE),) * facts.context_pairs
        prompts = [
            template.render(prompt.messages(Ask(_SOURCE, direction, formality, context)))
            for direction in facts.directions
            for formality in (None, Formality.FORMAL)
        ]
    except TemplateFailed as failure:
        raise TrialFailed(str(failure)) from failure
    for text in prompts:
        _within(pipeline, text, facts)
    longest = _longest(pipeline, prompts[0], facts)
    run(pipeline, [prompts[0], longest])
    run(pipeline, prompts)


def run(pipeline: Pipeline, prompts: list[str]) -> None:
    """Answers these prompts, a few tokens each.

    Raises:
        TrialFailed: a sequence was dropped.
    """
    begun: list[Generation] = [pipeline.add(pipeline.encode(text), _TOKENS) for text in prompts]
    tokens: list[list[int]] = [[] for _ in begun]
    states = [State.RUNNING] * len(begun)
    while pipeline.busy:
        pipeline.step()
        for number, generation in enumerate(begun):
            came, states[number] = generation.read()
            tokens[number] += came
    if not all(state in (State.STOPPED, State.LENGTH) for state in states):
        raise TrialFailed("a sequence did not come to its end")
    for each in tokens:
        pipeline.decode(each)


def _within(pipeline: Pipeline, text: str, facts: Facts) -> None:
    """An id outside of the vocabulary ends the process, or stands for another."""
    prompt = pipeline.encode(text)
    if prompt.count + _TOKENS > facts.places:
        raise TrialFailed(f"a short sentence has {prompt.count} tokens, and the model takes {facts.places}")
    if not 0 <= int(prompt.ids.data.min()) <= int(prompt.ids.data.max()) < facts.vocabulary:
        raise TrialFailed("its tokenizer gives tokens that its vocabulary does not have")


def _longest(pipeline: Pipeline, text: str, facts: Facts) -> str:
    """A prompt that fills the model up, but for the answer."""
    room = facts.places - _TOKENS
    least, most = 0, room
    while least < most:
        middle = (least + most + 1) // 2
        if pipeline.encode(text + _FILLING * middle).count <= room:
            least = middle
        else:
            most = middle - 1
    return text + _FILLING * least
