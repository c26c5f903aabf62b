"""`trunkline transcribe`: speech to text through a gateway."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import grpc.aio
import typer
from rich.console import Console
from rich.markup import escape

from trunkline.speech.v1 import speech_pb2 as pb
from trunkline.speech.v1.speech_pb2_grpc import SpeechServiceStub
from trunkline_hop.client_settings import MESSAGE_BYTES
from trunkline_hop.errors import BadRequest, Fault
from trunkline_local.door import (
    FAILURE,
    NOBODY,
    NobodyThere,
    complain,
    fault_of,
    gateway_of,
    open_channel,
    somebody_at,
)
from trunkline_local.transcribe_audio import (
    FAST_PIECE_S,
    LIVE_PIECE_S,
    RATE_HZ,
    NoAudio,
    Recording,
    microphone,
    paced,
    until_stopped,
)
from trunkline_local.transcribe_cues import Format
from trunkline_local.transcribe_session import Session, SessionLost
from trunkline_local.transcribe_views import CuesView, JsonView, LinesView, TerminalView, View

OPTIONS_BYTES = 64 * 1024
"""Room in a message for what is not audio."""
TIMEOUT_S = 600.0
"""What the contract allows a recording at most."""


class Task(Enum):
    """What is done with the speech."""

    TRANSCRIBE = "transcribe"
    TRANSLATE = "translate"


class Preset(Enum):
    """Parameters of a live session by name."""

    BALANCED = "balanced"
    LOW_LATENCY = "low-latency"
    DICTATION = "dictation"
    ECONOMY = "economy"


@dataclass(frozen=True, slots=True)
class Source:
    """What is heard, and how it goes."""

    file: Path | None
    """None: the microphone."""
    device: str | None = None
    live: bool = False
    """At the pace of whoever speaks."""

    @property
    def whole(self) -> bool:
        """Whether it goes in one message, as it is."""
        return (
            self.file is not None
            and not self.live
            and self.file.stat().st_size <= MESSAGE_BYTES - OPTIONS_BYTES
        )


def transcribe(
    file: Annotated[
        Path | None,
        typer.Argument(
            exists=True, dir_okay=False, readable=True, show_default=False, help="Audio or video of any kind."
        ),
    ] = None,
    language: Annotated[
        str, typer.Option(help="That is spoken, such as en or es; detected without it.", show_default=False)
    ] = "",
    live: Annotated[bool, typer.Option("--live", help="At the pace of speech, text as it grows.")] = False,
    from_microphone: Annotated[
        bool, typer.Option("--microphone", help="Listen live until ctrl-C, instead of FILE.")
    ] = False,
    device: Annotated[
        str | None, typer.Option(metavar="NAME", help="Which microphone; by name or number.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="One object a line: the answer, or every event of a session.")
    ] = False,
    as_srt: Annotated[bool, typer.Option("--srt", help="Subtitles, SubRip.")] = False,
    as_vtt: Annotated[bool, typer.Option("--vtt", help="Subtitles, WebVTT.")] = False,
    model: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="models/NAME, models/NAME/versions/N or engines/NAME; the server's choice without it.",
            show_default=False,
        ),
    ] = "",
    task: Annotated[Task, typer.Option(help="Translate goes to English.")] = Task.TRANSCRIBE,
    hints: Annotated[
        list[str] | None,
        typer.Option(help="Names and terms that are likely, with commas between. May be repeated."),
    ] = None,
    speakers: Annotated[int, typer.Option(min=0, max=10, help="Tell so many apart, at most.")] = 0,
    word_times: Annotated[
        bool, typer.Option("--word-times", help="Times of words; shown by --json, --srt and --vtt.")
    ] = False,
    preset: Annotated[
        Preset | None, typer.Option(help="When a live session answers.", show_default="balanced")
    ] = None,
    target: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="A gateway, instead of the running suite's.")
    ] = None,
    data_dir: Annotated[Path, typer.Option(help="Of the suite to use.")] = Path(".trunkline"),
) -> None:
    """Write down what is said in a recording, or right now.

    [bold]trunkline transcribe talk.mp3[/]                       text, at once
    [bold]trunkline transcribe talk.mp3 --live[/]                as if it were spoken now; words appear as they are understood
    [bold]trunkline transcribe call.ogg --speakers 2[/]          who said what
    [bold]trunkline transcribe film.mkv --srt > film.srt[/]      subtitles
    [bold]trunkline transcribe --microphone --language es[/]     dictation, until ctrl-C
    [bold]trunkline transcribe talk.mp3 --live --json | jq .interim.segment.text[/]

    It talks to the suite of [bold]trunkline up --detach[/]. Where stdout is no terminal, final text is all there is; notes go to stderr. A session whose server dies goes on where it was.

    Exit status 1: it failed. 3: there is nothing to talk to.
    """
    if (file is None) is not from_microphone:
        raise typer.BadParameter(
            "give a FILE, or --microphone" if file is None else "FILE or --microphone, not both"
        )
    if sum((as_json, as_srt, as_vtt)) > 1:
        raise typer.BadParameter("one of --json, --srt and --vtt")
    if device is not None and not from_microphone:
        raise typer.BadParameter("--device is of --microphone")
    if preset is not None and not (live or from_microphone):
        raise typer.BadParameter("--preset is of --live and --microphone")
    if word_times and not (as_json or as_srt or as_vtt):
        raise typer.BadParameter("--word-times shows in --json, --srt and --vtt only")
    notes = Console(stderr=True, highlight=False)
    form = Format.SRT if as_srt else Format.VTT if as_vtt else None
    view: View
    if as_json:
        view = JsonView(_write)
    elif form is not None:
        view = CuesView(_write, notes, form)
    elif sys.stdout.isatty():
        view = TerminalView(Console(highlight=False))
    else:
        view = LinesView(_write, notes)
    options = pb.RecognitionOptions(
        model=model,
        language_code=language,
        task=pb.Task.Value(f"TASK_{task.name}"),
        word_times=word_times or form is not None,
        max_speakers=speakers,
        hints=[hint.strip() for text in hints or () for hint in text.split(",") if hint.strip()],
    )
    chosen = pb.Preset.Value(f"PRESET_{preset.name}") if preset is not None else pb.PRESET_UNSPECIFIED
    gateway = gateway_of(data_dir, target)
    source = Source(file, device, live)
    try:
        with view:
            asyncio.run(hear(gateway, source, options, chosen, view, notes))
    except NobodyThere as nobody:
        raise _fail(notes, str(nobody), NOBODY) from nobody
    except Fault as fault:
        raise _fail(notes, f"{fault.message} ({fault.status} {fault.reason})", FAILURE) from fault
    except (NoAudio, SessionLost, ValueError) as error:
        raise _fail(notes, str(error), FAILURE) from error


async def hear(
    target: str,
    source: Source,
    options: pb.RecognitionOptions,
    preset: pb.Preset.ValueType,
    view: View,
    notes: Console,
) -> None:
    """Transcribes a source through a gateway, and shows it.

    Raises:
        NobodyThere: nobody answers there, or nobody who knows speech.
        NoAudio: there is nothing to hear.
        SessionLost: the server went away, and no other came.
        Fault: the server refused it.
    """
    with somebody_at(target, "speech", "speech"):
        async with open_channel(target) as channel:
            stub = SpeechServiceStub(channel)
            if (
                source.file is None
                or not source.whole
                or not await _recognize(stub, source.file, options, view)
            ):
                await _stream(stub, source, options, preset, view, notes)


async def _recognize(stub: Any, file: Path, options: pb.RecognitionOptions, view: View) -> bool:
    """The whole file at once, as it is. False when it is too long for that."""
    audio = await asyncio.to_thread(file.read_bytes)
    try:
        view.whole(await stub.Recognize(pb.RecognizeRequest(options=options, audio=audio), timeout=TIMEOUT_S))
    except grpc.aio.AioRpcError as error:
        fault = fault_of(error)
        if isinstance(fault, BadRequest) and fault.reason == "AUDIO_TOO_LONG":
            return False
        raise fault from error
    return True


async def _stream(
    stub: SpeechServiceStub,
    source: Source,
    options: pb.RecognitionOptions,
    preset: pb.Preset.ValueType,
    view: View,
    notes: Console,
) -> None:
    """A session; the first ctrl-C ends the audio, and what was said until then is still understood."""
    loop = asyncio.get_running_loop()
    config = pb.StreamingConfig(
        options=options,
        audio_format=pb.AudioFormat(
            encoding=pb.AUDIO_ENCODING_LINEAR16, sample_rate_hertz=RATE_HZ, channels=1
        ),
        preset=preset,
    )
    recording = Recording(source.file) if source.file is not None else None
    pieces: AsyncIterator[bytes]
    if recording is None:
        pieces = microphone(source.device)
    elif source.live:
        pieces = paced(recording.pieces(LIVE_PIECE_S), loop.time)
    else:
        pieces = recording.pieces(FAST_PIECE_S)
    stop = asyncio.Event()

    def end() -> None:
        loop.remove_signal_handler(signal.SIGINT)  # a second one ends everything at once
        stop.set()

    loop.add_signal_handler(signal.SIGINT, end)
    try:
        await Session(stub, config, view.heard, view.interrupted).run(until_stopped(pieces, stop))
    finally:
        loop.remove_signal_handler(signal.SIGINT)
    if recording is not None and recording.skipped:
        notes.print(
            f"[yellow]{recording.skipped} damaged pieces of {escape(str(recording.path))} were skipped[/]"
        )


def _write(text: str) -> None:
    # Flushed: who reads a pipe reads along.
    typer.echo(text, nl=False)
    sys.stdout.flush()


def _fail(notes: Console, reason: str, status: int) -> typer.Exit:
    complain(notes, reason)
    return typer.Exit(status)
