"""Chat templates as the files of a model have them, rendered as `transformers` renders them.

Source of what a template may use: `transformers.utils.chat_template_utils`, 5.5.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final, NoReturn

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from trunkline_translate.prompts import Message

_NAMES: Final = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
"""Tokens that templates know by name."""
_CONTROL: Final = re.compile(r"<\|.*\|>")
"""Looks of a token that is for control, whatever its file says; placeholders of a model look so too."""


class TemplateFailed(Exception):
    """The template is malformed, or takes no such messages. The text says why."""


class ChatTemplate:
    """A chat template.

    It runs in Jinja's sandbox: a model's files are data, not code.

    Args:
        source: in Jinja.
        tokens: what it may call by name, such as `bos_token`.

    Raises:
        TemplateFailed: it is malformed.
    """

    def __init__(self, source: str, tokens: Mapping[str, str]) -> None:
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols]
        )
        environment.filters["tojson"] = _tojson
        environment.globals["raise_exception"] = _refuse
        environment.globals["strftime_now"] = _now
        try:
            self._template = environment.from_string(source)
        except jinja2.TemplateError as error:
            raise TemplateFailed(f"the chat template is malformed: {error}") from error
        self._tokens = dict(tokens)
        self._takes_system = True

    @classmethod
    def read(cls, directory: Path) -> ChatTemplate:
        """The template of a directory with a tokenizer: `chat_template.jinja`, or of `tokenizer_config.json`.

        Raises:
            TemplateFailed: there is none, or a malformed one.
            OSError: a file cannot be read.
        """
        config = _json(directory / "tokenizer_config.json")
        file = directory / "chat_template.jinja"
        try:
            source: Any = file.read_text(encoding="utf-8") if file.is_file() else config.get("chat_template")
        except UnicodeDecodeError as error:
            raise TemplateFailed(f"{file.name} is no UTF-8") from error
        if isinstance(source, list):
            named = [each for each in source if isinstance(each, Mapping)]
            source = next((each.get("template") for each in named if each.get("name") == "default"), None)
        if not isinstance(source, str):
            raise TemplateFailed("there is no chat template")
        tokens = {name: text for name in _NAMES if (text := _text(config.get(name)))}
        return cls(source, tokens)

    def render(self, messages: Sequence[Message]) -> str:
        """The prompt for these messages, up to where the answer begins.

        A template that refuses a system message gets it as the beginning of the first message after it.

        Raises:
            TemplateFailed: the template does.
        """
        if self._takes_system:
            try:
                return self._render(messages)
            except TemplateFailed:
                if messages[0]["role"] != "system":
                    raise
        prompt = self._render(_without_system(messages))
        self._takes_system = False
        return prompt

    def _render(self, messages: Sequence[Message]) -> str:
        try:
            return self._template.render(
                messages=messages, tools=None, documents=None, add_generation_prompt=True, **self._tokens
            )
        except Exception as error:
            # A template is a program: it may fail in any way.
            raise TemplateFailed(f"the chat template fails: {error}") from error


def special_tokens(directory: Path) -> frozenset[str]:
    """The tokens for control that a tokenizer's files name: special ones, and those that look like it (`<|x|>`).

    Raises:
        TemplateFailed: a file is no JSON, or not of this kind.
        OSError: one cannot be read.
    """
    config = _json(directory / "tokenizer_config.json")
    file = directory / "tokenizer.json"
    by_id: Any = config.get("added_tokens_decoder") or {}
    listed: Any = _json(file).get("added_tokens") or [] if file.is_file() else []
    if not isinstance(by_id, Mapping) or not isinstance(listed, list):
        raise TemplateFailed("the added tokens of the tokenizer are malformed")
    added = [*by_id.values(), *listed]
    if not all(isinstance(token, Mapping) for token in added):
        raise TemplateFailed("the added tokens of the tokenizer are malformed")
    found = {_text(config.get(name)) for name in _NAMES}
    for token in added:
        text = _text(token)
        if token.get("special") is True or _CONTROL.fullmatch(text):
            found.add(text)
    return frozenset(found - {""})


class _Generation(Extension):
    """`{% generation %}`, which marks what is to be trained on, and changes nothing of the text."""

    tags = {"generation"}  # noqa: RUF012 - Jinja's own declaration

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        call = self.call_method("_same")
        return nodes.CallBlock(call, [], [], body).set_lineno(line)

    def _same(self, caller: Callable[[], str]) -> str:
        return caller()


def _without_system(messages: Sequence[Message]) -> list[Message]:
    system, first, *rest = messages
    return [{"role": first["role"], "content": f"{system['content']}\n\n{first['content']}"}, *rest]


def _refuse(message: str) -> NoReturn:
    raise jinja2.TemplateError(message)


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


def _now(form: str) -> str:
    return datetime.now().astimezone().strftime(form)


def _json(file: Path) -> dict[str, Any]:
    try:
        value = json.loads(file.read_bytes())
    except ValueError as error:
        raise TemplateFailed(f"{file.name} is no JSON") from error
    if not isinstance(value, dict):
        raise TemplateFailed(f"{file.name} is no JSON object")
    return value


def _text(token: Any) -> str:
    """A token's text: files have it bare or in an object."""
    if isinstance(token, Mapping):
        token = token.get("content")
    return token if isinstance(token, str) else ""
