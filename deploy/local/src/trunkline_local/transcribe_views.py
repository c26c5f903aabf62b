"""How a transcript is shown: growing in a terminal, as lines of text, as JSON, as cues."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable
from types import TracebackType
from typing import Any, Protocol, Self

from google.protobuf.json_format import MessageToDict
from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from trunkline.speech.v1 import speech_pb2 as pb
from trunkline_local.transcribe_cues import Format, cues, header, render
from trunkline_local.transcribe_session import seconds

SPEAKERS = ("cyan", "magenta", "yellow", "green", "blue", "bright_cyan", "bright_magenta", "bright_yellow")
REFRESH_HZ = 20

Write = Callable[[str], None]


class View(Protocol):
    """Shows what a server says."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def heard(self, event: pb.StreamingRecognizeResponse) -> None:
        """The next event of a session."""
        ...

    def whole(self, response: pb.RecognizeResponse) -> None:
        """The answer to a recording that was sent at once."""
        ...

    def interrupted(self, why: str) -> None:
        """The session's stream broke; it is taken up again."""
        ...


class _Segments(ABC):
    """A view that shows final segments, and tells on the side what is not as it should be."""

    def __init__(self, notes: Console) -> None:
        self._notes = notes

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def heard(self, event: pb.StreamingRecognizeResponse) -> None:
        match event.WhichOneof("event"):
            case "segment_final":
                self.segment(event.segment_final.segment)
            case "audio_dropped":
                self.note(_dropped(event.audio_dropped))
            case "degraded":
                self.note(_degraded(event.degraded))

    def whole(self, response: pb.RecognizeResponse) -> None:
        for segment in response.segments:
            self.segment(segment)
        for degradation in response.provenance.degradations:
            self.note(degradation)

    def interrupted(self, why: str) -> None:
        self.note(f"the stream broke ({why}); the session goes on where it was")

    @abstractmethod
    def segment(self, segment: pb.Segment) -> None:
        """A segment that will not change any more."""

    def note(self, text: str) -> None:
        """Something that is not part of the transcript."""
        self._notes.print(f"[yellow]{escape(text)}[/]", highlight=False, soft_wrap=True)


class LinesView(_Segments):
    """A line a segment, for a pipe: its text and nothing else, but for who speaks when that was asked for."""

    def __init__(self, write: Write, notes: Console) -> None:
        super().__init__(notes)
        self._write = write

    def segment(self, segment: pb.Segment) -> None:
        speaker = f"speaker {segment.speaker_tag}: " if segment.speaker_tag else ""
        self._write(f"{speaker}{segment.text}\n")


class CuesView(_Segments):
    """Subtitles."""

    def __init__(self, write: Write, notes: Console, form: Format) -> None:
        super().__init__(notes)
        self._write = write
        self._form = form
        self._number = 0

    def __enter__(self) -> Self:
        self._write(header(self._form))
        return self

    def segment(self, segment: pb.Segment) -> None:
        for cue in cues(segment):
            self._number += 1
            self._write(render(cue, self._number, self._form))


class JsonView:
    """One JSON object a line: the events of a session, or the answer. Names are the contract's."""

    def __init__(self, write: Write) -> None:
        self._write = write

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing is open."""

    def heard(self, event: pb.StreamingRecognizeResponse) -> None:
        value = _value(event)
        for kind in ("started", "draining"):
            value.get(kind, {}).pop("resume_token", None)  # a secret: output is kept and passed on
        self._line(value)

    def whole(self, response: pb.RecognizeResponse) -> None:
        self._line(_value(response))

    def interrupted(self, why: str) -> None:
        self._line({"interrupted": why})

    def _line(self, value: object) -> None:
        self._write(json.dumps(value, ensure_ascii=False) + "\n")


class TerminalView(_Segments):
    """Final segments scroll up; below them grows what is being said, what may still change of it dim."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._console = console
        self._live = Live(console=console, refresh_per_second=REFRESH_HZ, transient=True)
        self._model = ""

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.update(Text(), refresh=True)
        self._live.stop()

    def heard(self, event: pb.StreamingRecognizeResponse) -> None:
        super().heard(event)
        match event.WhichOneof("event"):
            case "configured":
                self._made_by(event.provenance)
                self._live.update(Text("listening", style="dim"))
            case "speech_started":
                self._live.update(
                    _line_of(pb.Segment(start_time=event.speech_started.time), Text("…", "dim"))
                )
            case "interim":
                interim = event.interim
                text, stable = interim.segment.text, interim.stable_length
                shown = Text.assemble(text[:stable], (text[stable:], "dim"))
                self._live.update(_line_of(interim.segment, shown))
            case "end_of_utterance":
                self._live.update(Text("listening", style="dim"))

    def whole(self, response: pb.RecognizeResponse) -> None:
        self._made_by(response.provenance)
        super().whole(response)

    def segment(self, segment: pb.Segment) -> None:
        self._live.update(Text(), refresh=True)
        self._console.print(_line_of(segment, Text(segment.text)))

    def _made_by(self, provenance: pb.Provenance) -> None:
        model = f"{provenance.model_version} on {provenance.device}"
        if provenance.model_version and model != self._model:
            self._model = model
            self._console.print(f"[dim]{escape(model)}[/]", highlight=False)


def _line_of(segment: pb.Segment, text: Text) -> Table:
    """When, in which language, who, and what, with a hanging indent."""
    minutes, at_s = divmod(seconds(segment.start_time), 60)
    line = Table.grid(padding=(0, 1))
    line.add_column(width=8, justify="right", style="dim", no_wrap=True)
    line.add_column(width=2, style="dim", no_wrap=True)
    cells: list[Text | str] = [f"{minutes:.0f}:{at_s:04.1f}", segment.language_code]
    if segment.speaker_tag:
        line.add_column(width=2, no_wrap=True, style=SPEAKERS[(segment.speaker_tag - 1) % len(SPEAKERS)])
        cells.append(str(segment.speaker_tag))
    line.add_column(overflow="fold")
    line.add_row(*cells, text)
    return line


def _value(message: Any) -> dict[str, Any]:
    return dict(MessageToDict(message, preserving_proto_field_name=True))


def _dropped(dropped: pb.AudioDropped) -> str:
    reason = pb.DropReason.Name(dropped.reason).removeprefix("DROP_REASON_").lower().replace("_", " ")
    return f"not heard: {seconds(dropped.duration):.2f} s from {seconds(dropped.start_time):.2f} s ({reason})"


def _degraded(degraded: pb.Degraded) -> str:
    state = "" if degraded.active else " is over"
    return f"{degraded.degradation}{state}{f': {degraded.message}' if degraded.message else ''}"
