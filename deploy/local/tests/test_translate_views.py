"""What a person sees, and what a program reads, of a translation."""

import io
import json

import pytest
from rich.console import Console

from trunkline.translate.v1 import translate_pb2 as pb
from trunkline_hop.errors import Unavailable
from trunkline_local.translate_text import Growing
from trunkline_local.translate_views import JsonView, LinesView, TerminalView


def delta(text, number=1, revision=1, separator=""):
    piece = pb.Delta(sentence_id=number, revision=revision, text=text)
    return pb.StreamTranslateResponse(delta=piece, separator=separator)


def sentence(text, number=1, revision=1, separator="", lacks=(), source="a sentence"):
    provenance = pb.Provenance(
        engine="apertium", model_version="engines/apertium/eng-spa", degradations=lacks
    )
    return pb.StreamTranslateResponse(
        sentence=pb.Sentence(
            sentence_id=number,
            revision=revision,
            text=text,
            source_text=source,
            source_language_code="en",
            target_language_code="es",
            provenance=provenance,
        ),
        separator=separator,
    )


def grown(*events, source="a text"):
    text = Growing(source)
    for event in events:
        text.take(event)
    return text


@pytest.fixture
def terminal():
    return Console(
        file=io.StringIO(), width=60, force_terminal=True, color_system="standard", highlight=False
    )


@pytest.fixture
def notes():
    return Console(file=io.StringIO(), width=200)


def test_a_text_grows_by_deltas_and_what_stands_in_between():
    text = grown(delta("¿Dónde"), delta(" está?"))
    assert (text.settled, text.draft) == ("", "¿Dónde está?")
    for event in (sentence("¿Dónde está?"), delta("Aquí", 2, separator="\n\n")):
        text.take(event)
    assert (text.settled, text.draft) == ("¿Dónde está?", "\n\nAquí")
    text.take(sentence("Aquí.", 2))
    assert (text.settled, text.draft) == ("¿Dónde está?\n\nAquí.", "")


def test_what_came_under_a_lower_revision_is_gone():
    text = grown(delta("wrong", separator=" "), delta("right", revision=2), delta("late", revision=1))
    assert text.draft == " right"
    text.take(sentence("right", revision=2))
    text.take(delta("the next", 2))  # whose revisions begin anew
    assert (text.settled, text.draft) == (" right", "the next")


def test_in_a_terminal_what_may_change_is_dim_and_gone_when_it_did(terminal):
    with TerminalView(terminal) as view:
        text = Growing("x")
        for event in (sentence("Uno."), delta("Tres", 2, separator=" ")):
            text.take(event)
            view.grew(text)
        terminal.file.truncate(0)
        view._live.refresh()
        assert "Uno.\x1b[2m Tres\x1b[0m" in terminal.file.getvalue()
        text.take(delta("Dos", 2, revision=2))
        view.grew(text)
        text.take(sentence("Dos.", 2, revision=2))
        view.grew(text)
        terminal.file.truncate(0)
        view.done(text)
    shown = terminal.file.getvalue()
    assert "Uno. Dos." in shown
    assert "Tres" not in shown


def test_in_a_terminal_whole_lines_scroll_up_once_and_in_order(terminal):
    with TerminalView(terminal) as view:
        text = Growing("x")
        for number in range(1, 6):
            text.take(sentence(f"line {number}", number, separator="\n" if number > 1 else ""))
            view.grew(text)
        view.done(text)
        view.failed(Growing("y"), Unavailable("NO_ENGINE", "x"))
    places = [terminal.file.getvalue().rindex(f"line {number}") for number in range(1, 6)]
    assert places == sorted(places)


def test_in_a_terminal_a_text_stays_as_it_is(terminal, notes):
    text = grown(sentence("Escribe :smile: y [b]", lacks=["formality_ignored"], source="Write :smile:"))
    with TerminalView(terminal) as view:
        view.done(text)
    assert "Escribe :smile: y [b]" in terminal.file.getvalue()
    assert "Write :smile:" in terminal.file.getvalue()


def test_while_nothing_grows_a_terminal_is_left_to_who_types(terminal):
    with TerminalView(terminal):
        assert terminal.file.getvalue() == ""
    assert terminal.file.getvalue() == ""


def test_a_line_stays_a_line_whatever_an_engine_says(notes):
    written = []
    with LinesView(written.append, notes) as view:
        view.done(grown(sentence("uno\ndos"), source="one two"))
        view.done(grown(sentence("uno"), sentence("dos", 2, separator="\n"), source="one\ntwo"))
        view.failed(Growing("x"), Unavailable("NO_ENGINE", "x"))
    assert written == ["uno dos\n", "uno\ndos\n", "\n"]


def test_what_nobody_asked_for_is_said_only_when_it_is_asked_for(notes):
    text = grown(
        sentence("uno", lacks=["fallback_engine", "context_dropped"]),
        sentence("dos", 2, lacks=["fallback_engine", "phrase_not_kept"], source="[two]"),
    )
    LinesView(lambda line: None, notes).done(text)
    assert notes.file.getvalue() == "[two]: phrase_not_kept\n"
    LinesView(lambda line: None, notes, verbose=True).done(text)
    assert (
        "en → es, apertium: engines/apertium/eng-spa, fallback_engine, context_dropped\n"
        in notes.file.getvalue()
    )


def test_json_is_an_object_a_text():
    written = []
    with JsonView(written.append) as view:
        view.grew(Growing("x"))
        view.done(grown(sentence("¿qué?"), source="what?"))
        view.failed(Growing("x"), Unavailable("NO_ENGINE", "none is up"))
    first, second = map(json.loads, written)
    assert (first["text"], first["source_text"]) == ("¿qué?", "what?")
    assert "¿qué?" in written[0]
    assert second == {
        "source_text": "x",
        "failure": {"code": "UNAVAILABLE", "reason": "NO_ENGINE", "message": "none is up"},
    }
