"""How a translation is shown: growing in a terminal, as lines of text, as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import TracebackType
from typing import Any, Protocol, Self

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from rich.console import Console
from rich.live import Live
from rich.text import Text

from trunkline.translate.v1 import translate_pb2 as pb
from trunkline_hop.errors import Fault
from trunkline_local.translate_text import Growing

REFRESH_HZ = 20
UNASKED = ("fallback_engine", "context_dropped")
"""What a translation may lack without its being another one than what was asked for."""

Write = Callable[[str], None]


class View(Protocol):
    """Shows texts, one after the other."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def grew(self, text: Growing) -> None:
        """There is more of a text, or its sentence began anew."""
        ...

    def done(self, text: Growing) -> None:
        """A text is there to its end."""
        ...

    def failed(self, text: Growing, fault: Fault) -> None:
        """A text is not there, and those behind it go on."""
        ...


class LinesView:
    """A text in, a text out, for a pipe: one line for one line. What else is to be said goes elsewhere.

    Args:
        write: to the pipe.
        notes: where it is said that a translation is not what was asked for.
        verbose: say of every sentence what made it.
    """

    def __init__(self, write: Write, notes: Console, verbose: bool = False) -> None:
        self._write = write
        self._notes = notes
        self._verbose = verbose

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing is open."""

    def grew(self, text: Growing) -> None:
        """Shown when it is whole."""

    def done(self, text: Growing) -> None:
        self._write(as_line(text) + "\n")
        note_all(self._notes, text, self._verbose)

    def failed(self, text: Growing, fault: Fault) -> None:
        self._write("\n")  # whoever counts lines counts right


class JsonView:
    """One JSON object a text. Names are the contract's."""

    def __init__(self, write: Write) -> None:
        self._write = write

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing is open."""

    def grew(self, text: Growing) -> None:
        """Shown when it is whole."""

    def done(self, text: Growing) -> None:
        self._line(
            {
                "source_text": text.source,
                "text": text.settled,
                "sentences": [_value(each) for each in text.sentences],
            }
        )

    def failed(self, text: Growing, fault: Fault) -> None:
        failure = pb.Failure(code=fault.status, reason=fault.reason, message=fault.message)
        self._line({"source_text": text.source, "failure": _value(failure)})

    def _line(self, value: object) -> None:
        self._write(json.dumps(value, ensure_ascii=False) + "\n")


class TerminalView:
    """What is complete is plain; the sentence under way is dim, and grows."""

    def __init__(self, console: Console, verbose: bool = False) -> None:
        self._console = console
        self._verbose = verbose
        self._live: Live | None = None
        """While a text grows only: somebody may be typing the next one."""
        self._printed = 0
        """Characters of the text that have scrolled up."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def grew(self, text: Growing) -> None:
        # Whole lines scroll up: what grows has to fit into the window.
        end = text.settled.rfind("\n")
        if end > self._printed:
            self._print(text.settled[self._printed : end])
            self._printed = end + 1
        if self._live is None:
            self._live = Live(console=self._console, refresh_per_second=REFRESH_HZ, transient=True)
            self._live.start()
        self._live.update(Text.assemble(text.settled[self._printed :], (text.draft, "dim")))

    def done(self, text: Growing) -> None:
        rest = text.settled[self._printed :]
        self._stop()
        self._print(rest)
        note_all(self._console, text, self._verbose)

    def failed(self, text: Growing, fault: Fault) -> None:
        self._stop()

    def _stop(self) -> None:
        if self._live is not None:
            self._live.update(Text(), refresh=True)
            self._live.stop()
        self._live, self._printed = None, 0

    def _print(self, text: str) -> None:
        self._console.print(text, markup=False, emoji=False, highlight=False, soft_wrap=True)


def as_line(text: Growing) -> str:
    """The translation of a line in one line, whatever an engine made of it."""
    return text.settled if "\n" in text.source else " ".join(text.settled.splitlines())


def note_all(notes: Console, text: Growing, verbose: bool) -> None:
    """Says of every sentence what made it, or only where it is not what was asked for."""
    for sentence in text.sentences:
        said = _made_by(sentence) if verbose else _amiss(sentence)
        if said:
            notes.print(Text(said, style="dim" if verbose else "yellow"), soft_wrap=True)


def _made_by(sentence: pb.Sentence) -> str:
    provenance = sentence.provenance
    languages = f"{sentence.source_language_code} → {sentence.target_language_code}"
    device = f" on {provenance.device}" if provenance.device else ""
    tokens = f"{sentence.prompt_tokens} + {sentence.completion_tokens} tokens"
    said = [
        languages,
        f"{provenance.engine}: {provenance.model_version}{device}",
        *([tokens] if sentence.completion_tokens else []),
        *(["in context"] if sentence.context_used else []),
        *_lacks(sentence),
    ]
    return ", ".join(said)


def _amiss(sentence: pb.Sentence) -> str:
    lacks = [name for name in _lacks(sentence) if name not in UNASKED]
    return f"{sentence.source_text}: {', '.join(lacks)}" if lacks else ""


def _lacks(sentence: pb.Sentence) -> list[str]:
    cut = ["cut at its longest"] if sentence.finish_reason == pb.FINISH_REASON_LENGTH else []
    return [*sentence.provenance.degradations, *cut]


def json_line(message: Message) -> str:
    """A message as one line."""
    return json.dumps(_value(message), ensure_ascii=False) + "\n"


def _value(message: Message) -> dict[str, Any]:
    return dict(MessageToDict(message, preserving_proto_field_name=True))
