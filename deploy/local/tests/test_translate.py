"""The command against a scripted service behind the real gateway, as a process of its own."""

import asyncio
import json
import os
import sys
from datetime import timedelta

import pytest
from conditions import until
from scripted_translate import OPENVINO, VLLM
from typer.testing import CliRunner

from trunkline.translate.v1 import translate_pb2 as pb
from trunkline_gateway.__main__ import build
from trunkline_gateway.settings import Settings
from trunkline_hop.errors import BadRequest, Unavailable
from trunkline_hop.server import running
from trunkline_local.__main__ import app
from trunkline_local.embedded import free_port


async def started(*argv, target=None):
    """The command, with pipes to it."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TRUNKLINE_")}
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "trunkline_local",
        "translate",
        *argv,
        *(("--target", target) if target else ()),
        env=environment,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def translate(*argv, target=None, given=b""):
    """Exit status, standard output and error."""
    process = await started(*argv, target=target)
    async with asyncio.timeout(60):
        out, err = await process.communicate(given)
    return process.returncode, out.decode(), err.decode()


async def test_a_text_is_translated_with_what_was_asked_of_it(translator):
    translator.known = {"Where is Café Park?": "¿Dónde está Café Park?"}
    asked = ("--to", "es", "--from", "en-GB", "--formality", "formal", "--engine", "vllm")
    more = ("--glossary", "station = estación", "--glossary", "e=mc=2", "--keep", "Café Park", "--keep", "Ñ")
    status, out, err = await translate("Where is Café Park?", *asked, *more, target=translator.target)
    assert (status, out, err) == (0, "¿Dónde está Café Park?\n", "")
    (request,) = translator.asked
    assert request.text == "Where is Café Park?"
    assert request.options == pb.TranslationOptions(
        model="engines/vllm",
        source_language_code="en-GB",
        target_language_code="es",
        formality=pb.FORMALITY_FORMAL,
        glossary=[
            pb.GlossaryEntry(source="station", target="estación"),
            pb.GlossaryEntry(source="e", target="mc=2"),
        ],
        do_not_translate=["Café Park", "Ñ"],
    )


async def test_words_need_no_quotes_and_what_stands_between_sentences_stays(translator):
    status, out, _ = await translate("one", "two.", "three", "--to", "es", target=translator.target)
    assert (status, out) == (0, "ONE TWO THREE\n")
    text = "one. two\n\nthree"
    status, out, _ = await translate(text, "--to", "es", "--model", "models/m", target=translator.target)
    assert (status, out) == (0, "ONE TWO\n\nTHREE\n")
    assert translator.asked[1].options.model == "models/m"


async def test_verbose_says_what_made_each_sentence_and_json_says_all(translator):
    translator.vllm = False
    argv = ("one. two", "--to", "es")
    status, out, err = await translate(*argv, "--verbose", target=translator.target)
    assert (status, out) == (0, "ONE TWO\n")
    line = f"en → es, openvino: {OPENVINO} on CPU, 9 + 4 tokens, fallback_engine"
    assert err.splitlines() == [line, line]
    status, out, err = await translate(*argv, "--json", target=translator.target)
    assert (status, err) == (0, "")
    answer = json.loads(out)
    assert (answer["source_text"], answer["text"]) == ("one. two", "ONE TWO")
    assert [sentence["text"] for sentence in answer["sentences"]] == ["ONE", "TWO"]
    assert answer["sentences"][0]["provenance"]["degradations"] == ["fallback_engine"]


async def test_what_is_not_as_it_was_asked_for_is_said_without_being_asked(translator):
    translator.degradations = ["glossary_missed"]
    translator.vllm = False
    translator.finish_reason = pb.FINISH_REASON_LENGTH
    status, out, err = await translate("one", "--to", "es", target=translator.target)
    assert (status, out, err) == (0, "ONE\n", "one: glossary_missed, cut at its longest\n")


async def test_a_sentence_that_began_anew_is_there_once(translator):
    translator.restarts = {"two"}
    status, out, _ = await translate("one. two. three", "--to", "es", target=translator.target)
    assert (status, out) == (0, "ONE TWO THREE\n")


async def test_one_line_comes_out_for_each_that_goes_in(translator):
    given = "one\n\n  \r\ntwo. three\r\n¿qué tal?".encode()
    status, out, err = await translate("--to", "es", target=translator.target, given=given)
    assert (status, out, err) == (0, "ONE\n\n\nTWO THREE\n¿QUÉ TAL?\n", "")
    assert len(translator.asked) == 3


async def test_a_line_is_translated_and_out_before_the_next_one_comes(translator):
    process = await started("--to", "es", target=translator.target)
    async with asyncio.timeout(60):
        for word in ("one", "two", "three"):
            process.stdin.write(f"{word}\n".encode())
            await process.stdin.drain()
            assert await process.stdout.readline() == f"{word.upper()}\n".encode()
        process.stdin.close()
        _, err = await process.communicate()
    assert (process.returncode, err) == (0, b"")


async def test_lines_keep_their_order_though_several_are_under_way(translator):
    translator.held = {"line 1": asyncio.Event()}
    process = await started("--to", "es", target=translator.target)
    process.stdin.write("".join(f"line {number}\n" for number in range(1, 30)).encode())
    process.stdin.close()
    async with asyncio.timeout(60):
        await until(lambda: {"line 1", "line 2"} <= {request.text for request in translator.asked})
        translator.held["line 1"].set()
        out, _ = await process.communicate()
    assert out.decode().split("\n") == [f"LINE {number}" for number in range(1, 30)] + [""]


async def test_a_line_that_fails_ends_it_with_its_reason_and_the_remedy(translator):
    translator.fails = {
        "two": Unavailable("NO_ENGINE", "no engine for en-es is up", retry_after=timedelta(seconds=5))
    }
    given = b"one\ntwo\nthree\n"
    status, out, err = await translate("--to", "es", target=translator.target, given=given)
    assert (status, out) == (1, "ONE\n")
    assert "no engine for en-es is up (UNAVAILABLE NO_ENGINE); " in err
    assert "--languages" in err
    status, out, err = await translate("--to", "es", "--continue", target=translator.target, given=given)
    assert (status, out) == (1, "ONE\n\nTHREE\n"), err
    assert err.count("NO_ENGINE") == 1
    status, out, _ = await translate(
        "--to", "es", "--continue", "--json", target=translator.target, given=given
    )
    lines = [json.loads(line) for line in out.splitlines()]
    assert status == 1
    assert [line.get("text") for line in lines] == ["ONE", None, "THREE"]
    assert lines[1]["failure"]["reason"] == "NO_ENGINE"


async def test_a_failure_ends_it_though_more_lines_may_come(translator):
    translator.fails = {"two": BadRequest.field("text", "is none")}
    process = await started("--to", "es", target=translator.target)
    process.stdin.write(b"one\ntwo\n")
    async with asyncio.timeout(60):
        # As of `tail -f`: nobody closes it.
        assert await process.wait() == 1
        assert await process.stdout.read() == b"ONE\n"
        assert b"Fatal" not in await process.stderr.read()


async def test_a_refusal_says_why_and_ends_with_1(translator):
    status, out, err = await translate("one", "--to", "xx", target=translator.target)
    assert (status, out) == (1, "")
    assert "nobody translates into xx (INVALID_ARGUMENT LANGUAGE_UNSUPPORTED); " in err
    status, out, err = await translate("one", "--to", "ES", target=translator.target)
    assert status == 1
    assert "target_language_code" in err


async def test_what_is_no_text_is_named_by_its_line(translator):
    status, out, err = await translate(
        "--to", "es", target=translator.target, given=b"one\n\xff\xfe\nthree\n"
    )
    assert (status, out) == (1, "ONE\n")
    assert "line 2 of standard input is not UTF-8" in err


async def test_what_there_is_is_listed_with_why_an_engine_is_not_up(translator):
    translator.vllm = False
    status, out, _ = await translate("--languages", target=translator.target)
    assert status == 0
    assert [line.split()[:3] for line in out.splitlines()[1:]] == [
        ["en", "es", "vllm"],
        ["openvino", OPENVINO, "up"],
        ["es", "en", "vllm"],
        ["openvino", OPENVINO, "up"],
    ]
    assert "does not answer: start it" in out
    status, out, _ = await translate("--languages", "--json", target=translator.target)
    assert [json.loads(line)["engines"][0]["model_version"] for line in out.splitlines()] == [VLLM, VLLM]


async def test_where_nothing_answers_the_way_out_is_told_with_3():
    nobody = f"127.0.0.1:{free_port()}"
    for argv in (("one", "--to", "es"), ("--languages",)):
        status, out, err = await translate(*argv, target=nobody)
        assert (status, out) == (3, "")
        assert "trunkline up --detach" in err
    status, _, err = await translate("--to", "es", "--continue", target=nobody, given=b"one\ntwo\n")
    assert status == 3
    assert err.count("trunkline:") == 1


async def test_a_gateway_without_translation_or_with_a_dead_one_is_nothing_to_talk_to_either():
    async with running("gateway", Settings(port=0, metrics_port=0, features="127.0.0.1:1"), build) as gateway:
        status, _, err = await translate("one", "--to", "es", target=gateway.target)
        assert status == 3
        assert "has no translation service" in err
    async with running(
        "gateway", Settings(port=0, metrics_port=0, translate="127.0.0.1:1"), build
    ) as gateway:
        status, _, err = await translate("one", "--to", "es", target=gateway.target)
        assert status == 3
        assert "trunkline status" in err


@pytest.mark.parametrize(
    ("argv", "what"),
    [
        (("one",), "--to"),
        (("one", "--languages"), "not both"),
        (("one", "--to", "es", "--engine", "vllm", "--model", "models/m"), "not both"),
        (("one", "--to", "es", "--engine", "babelfish"), "openvino"),
        (("one", "--to", "es", "--glossary", "station"), "term=translation"),
        (("one", "--to", "es", "--glossary", "=estación"), "term=translation"),
        (("one", "--to", "es", "--json", "--verbose"), "--verbose"),
        (("one", "--to", "es", "--continue"), "standard input"),
    ],
)
def test_what_would_be_ignored_is_refused(argv, what):
    answer = CliRunner().invoke(app, ["translate", *argv])
    assert answer.exit_code == 2
    assert what in answer.output
