"""`trunkline translate`: text in one language to text in another, through a gateway."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import grpc.aio
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from trunkline.translate.v1 import translate_pb2 as pb
from trunkline.translate.v1.translate_pb2_grpc import TranslateServiceStub
from trunkline_hop.errors import Fault
from trunkline_local.door import (
    FAILURE,
    NOBODY,
    NOBODY_BEHIND,
    NobodyThere,
    complain,
    fault_of,
    gateway_of,
    open_channel,
    somebody_at,
)
from trunkline_local.translate_lines import NotText, in_order, lines_of
from trunkline_local.translate_text import Growing, translated
from trunkline_local.translate_views import JsonView, LinesView, TerminalView, View, json_line

LIST_TIMEOUT_S = 10.0
PIPE_WIDTH = 400
"""Of a table that nobody looks at in a window."""
REMEDIES = {
    "LANGUAGE_UNSUPPORTED": "`trunkline translate --languages` lists what there is",
    "LANGUAGE_UNDETECTED": "say which language it is with --from",
    "MODEL_UNKNOWN": "`trunkline translate --languages` lists what there is",
    "NO_ENGINE": "`trunkline translate --languages` says which engines there are, and why they are not up",
    "ENGINE_FAILED": "another engine may do it: leave --engine out",
    "TRANSLATION_REJECTED": "no engine gave an answer that can be one; say it in other words",
    "TEXT_TOO_LONG": "make shorter sentences of it",
}
"""What to do, by the reason of a fault."""


class Engine(Enum):
    """Who translates."""

    OPENVINO = "openvino"
    VLLM = "vllm"
    TRITON = "triton"
    APERTIUM = "apertium"


class Formality(Enum):
    """How the listener is addressed."""

    FORMAL = "formal"
    INFORMAL = "informal"


def translate(
    text: Annotated[
        list[str] | None,
        typer.Argument(
            show_default=False, help="What to translate; without it, the lines of standard input."
        ),
    ] = None,
    target_language: Annotated[
        str, typer.Option("--to", metavar="LANGUAGE", help="Such as es.", show_default=False)
    ] = "",
    source_language: Annotated[
        str, typer.Option("--from", metavar="LANGUAGE", help="Detected without it.", show_default=False)
    ] = "",
    engine: Annotated[
        Engine | None, typer.Option(help="This one or none; without it, the best that is up.")
    ] = None,
    model: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="models/NAME or models/NAME/versions/N; the server's choice without it.",
            show_default=False,
        ),
    ] = "",
    formality: Annotated[
        Formality | None, typer.Option(help="How the listener is addressed; as the text does without it.")
    ] = None,
    glossary: Annotated[
        list[str] | None,
        typer.Option(metavar="TERM=TRANSLATION", help="Always this for that. May be repeated."),
    ] = None,
    keep: Annotated[
        list[str] | None, typer.Option(metavar="PHRASE", help="Stays as it is. May be repeated.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="An object a text, with what made each of its sentences.")
    ] = False,
    verbose: Annotated[
        bool,
        typer.Option("--verbose", "-v", help="Say on stderr what made each sentence, and what it lacks."),
    ] = False,
    go_on: Annotated[
        bool, typer.Option("--continue", help="Go on after a line that fails; an empty line stands for it.")
    ] = False,
    languages: Annotated[
        bool, typer.Option("--languages", help="List what can be translated into what, and by whom.")
    ] = False,
    target: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="A gateway, instead of the running suite's.")
    ] = None,
    data_dir: Annotated[Path, typer.Option(help="Of the suite to use.")] = Path(".trunkline"),
) -> None:
    """Translate a text, or standard input line by line.

    [bold]trunkline translate "Where is the station?" --to es[/]
    [bold]trunkline translate --to de < letter.txt > brief.txt[/]             one line out for each line in
    [bold]tail -f chat.log | trunkline translate --to en[/]                   as lines come
    [bold]trunkline translate "Are you hungry?" --to fr --formality formal[/]
    [bold]trunkline translate "Open Trunkline." --to es --keep Trunkline --glossary open=inicia[/]
    [bold]trunkline translate "I need a doctor." --to es --json | jq .sentences[].provenance[/]
    [bold]trunkline translate --languages[/]                                  what there is

    It talks to the suite of [bold]trunkline up --detach[/]. In a terminal words appear as they are found; what may still change is dim. Where stdout is no terminal, translations are all there is; notes go to stderr.

    Exit status 1: a text was not translated, and stderr says why. 3: there is nothing to talk to.
    """
    if languages:
        if text:
            raise typer.BadParameter("TEXT or --languages, not both")
    elif not target_language:
        raise typer.BadParameter("say into which language with --to, such as --to es")
    if engine is not None and model:
        raise typer.BadParameter("--engine or --model, not both")
    if as_json and verbose:
        raise typer.BadParameter("--json says all that --verbose says")
    if go_on and text:
        raise typer.BadParameter("--continue is of standard input")
    options = pb.TranslationOptions(
        model=f"engines/{engine.value}" if engine is not None else model,
        source_language_code=source_language,
        target_language_code=target_language,
        formality=pb.Formality.Value(f"FORMALITY_{formality.name}")
        if formality is not None
        else pb.FORMALITY_UNSPECIFIED,
        glossary=[_entry(given) for given in glossary or ()],
        do_not_translate=keep or (),
    )
    notes = Console(stderr=True, highlight=False)
    view: View
    if as_json:
        view = JsonView(_write)
    elif sys.stdout.isatty():
        view = TerminalView(Console(highlight=False), verbose)
    else:
        view = LinesView(_write, notes, verbose)
    gateway = gateway_of(data_dir, target)
    try:
        if languages:
            asyncio.run(_list(gateway, as_json))
        elif not asyncio.run(_say(gateway, text, options, view, notes, go_on)):
            raise typer.Exit(FAILURE)
    except NobodyThere as nobody:
        complain(notes, str(nobody))
        raise typer.Exit(NOBODY) from nobody
    except Fault as fault:
        complain(notes, explained(fault))
        raise typer.Exit(FAILURE) from fault
    except NotText as error:
        complain(notes, str(error))
        raise typer.Exit(FAILURE) from error


def explained(fault: Fault) -> str:
    """What a fault says, and what can be done about it."""
    remedy = REMEDIES.get(fault.reason)
    return f"{fault.message} ({fault.status} {fault.reason})" + (f"; {remedy}" if remedy else "")


async def _say(
    gateway: str,
    words: list[str] | None,
    options: pb.TranslationOptions,
    view: View,
    notes: Console,
    go_on: bool,
) -> bool:
    """Translates all there is; whether nothing failed that was passed over.

    Raises:
        NobodyThere: nobody answers there, or nobody who translates.
        Fault: a text was not translated.
        NotText: standard input is no text.
    """
    texts = _one(" ".join(words)) if words else lines_of()
    failed = 0
    with somebody_at(gateway, "translation", "translation"):
        async with open_channel(gateway) as channel:
            stub: Any = TranslateServiceStub(channel)

            def begin(text: str) -> AsyncGenerator[pb.StreamTranslateResponse, None]:
                return translated(stub, text, options)

            with view:
                async with aclosing(in_order(texts, begin)) as lines:
                    async for line in lines:
                        text = Growing(line.text)
                        try:
                            async for event in line.events:
                                text.take(event)
                                view.grew(text)
                        except Fault as fault:
                            # Who is not there for one line is not there for those behind it.
                            if not go_on or not fault.details or fault.reason in NOBODY_BEHIND:
                                raise
                            failed += 1
                            view.failed(text, fault)
                            complain(notes, explained(fault))
                        else:
                            view.done(text)
    return not failed


async def _one(text: str) -> AsyncIterator[str]:
    yield text


async def _list(gateway: str, as_json: bool) -> None:
    """Shows what can be translated into what."""
    pairs: list[pb.LanguagePair] = []
    request = pb.ListLanguagesRequest(page_size=1000)
    with somebody_at(gateway, "translation", "translation"):
        async with open_channel(gateway) as channel:
            stub: Any = TranslateServiceStub(channel)
            while True:
                try:
                    page = await stub.ListLanguages(request, timeout=LIST_TIMEOUT_S)
                except grpc.aio.AioRpcError as error:
                    raise fault_of(error) from error
                pairs += page.pairs
                request.page_token = page.next_page_token
                if not request.page_token:
                    break
    if as_json:
        for pair in pairs:
            _write(json_line(pair))
    else:
        # A reason is one line where no window says how long a line is.
        width = None if sys.stdout.isatty() else PIPE_WIDTH
        Console(width=width, highlight=False).print(languages_table(pairs))


def languages_table(pairs: list[pb.LanguagePair]) -> Table:
    """One row for every pair and engine, the preferred engine first."""
    table = Table(box=None, pad_edge=False)
    for heading in ("from", "to", "engine", "model", ""):
        table.add_column(heading)
    for pair in pairs:
        for number, engine in enumerate(pair.engines):
            table.add_row(
                "" if number else pair.source_language_code,
                "" if number else pair.target_language_code,
                engine.engine,
                engine.model_version,
                "[green]up[/]" if engine.ready else Text(engine.error or "not up", style="yellow"),
            )
    return table


def _entry(given: str) -> pb.GlossaryEntry:
    source, equals, target = given.partition("=")
    if not (equals and source.strip() and target.strip()):
        raise typer.BadParameter(f"{given!r}: write it as term=translation", param_hint="--glossary")
    return pb.GlossaryEntry(source=source.strip(), target=target.strip())


def _write(text: str) -> None:
    # Flushed: who reads a pipe reads along.
    typer.echo(text, nl=False)
    sys.stdout.flush()
