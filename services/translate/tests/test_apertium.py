"""Apertium's protocol, with programs that answer as a test tells them. The real ones: tests/engines."""

from __future__ import annotations

import asyncio
import errno
import os
import shlex
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from pathlib import Path

import apertium_stage
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline_translate import apertium_pipeline
from trunkline_translate.apertium import LONGEST, ApertiumEngine
from trunkline_translate.apertium_modes import installed
from trunkline_translate.apertium_stream import Framed, Garbage
from trunkline_translate.engine import (
    Ask,
    Delta,
    Done,
    EngineFailed,
    FinishReason,
    Formality,
    Priority,
    SentenceTooLong,
)
from trunkline_translate.language import Direction

EN_ES = Direction("en", "es")
ES_EN = Direction("es", "en")
PHRASE = chr(0xE000)


def write(modes: Path, name: str, *ways: str) -> None:
    """A mode whose programs have these ways. Python takes `-z` for itself: a shell turns it around."""
    program = modes / "stage"
    if not program.exists():
        program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {apertium_stage.__file__} "$@"\n')
        program.chmod(0o755)
    if "waits for x" in ways:
        os.mkfifo(modes / "go")
    line = " | ".join(shlex.join([str(program), way, str(modes)]) for way in ways)
    (modes / f"{name}.mode").write_text(line + "\n")


@asynccontextmanager
async def engine_of(modes: Path, **options: float) -> AsyncIterator[ApertiumEngine]:
    async with ApertiumEngine(modes, **options) as engine:
        with suppress(EngineFailed):
            await engine.probe()
        yield engine


async def said(engine: ApertiumEngine, text: str, direction: Direction = EN_ES, **options: object) -> str:
    pieces = [piece async for piece in engine.translate(Ask(text, direction, **options))]
    assert isinstance(pieces[-1], Done)
    return "".join(piece.text for piece in pieces if isinstance(piece, Delta))


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not holds():
            await asyncio.to_thread(os.sched_yield)


def processes_of(group: int) -> set[int]:
    """The live processes of a process group, as the kernel tells."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[2]) == group and fields[0] != "Z":
                found.add(int(entry.name))
    return found


async def test_a_sentence_goes_through_all_programs_and_comes_back_whole(tmp_path: Path) -> None:
    write(tmp_path, "eng-spa", "upper", "marks")
    async with engine_of(tmp_path) as engine:
        pieces = [piece async for piece in engine.translate(Ask(f"say {PHRASE}, twice", EN_ES))]
        assert pieces[0] == Delta(f"@a^b$ [c] SAY {PHRASE}, TWICE")
        assert isinstance(pieces[1], Done)
        assert pieces[1].finish_reason is FinishReason.STOP
        assert pieces[1].made_by is not None
        assert pieces[1].made_by.model_version == "engines/apertium/eng-spa"


async def test_a_phrase_may_come_back_in_another_place(tmp_path: Path) -> None:
    write(tmp_path, "eng-spa", "moves")
    async with engine_of(tmp_path) as engine:
        assert await said(engine, f"I was in {PHRASE}.") == f"{PHRASE} I was in there."


async def test_formality_is_ignored_and_said_to_be(tmp_path: Path) -> None:
    write(tmp_path, "eng-spa", "upper")
    async with engine_of(tmp_path) as engine:
        pieces = [piece async for piece in engine.translate(Ask("you", EN_ES, formality=Formality.FORMAL))]
        assert isinstance(pieces[-1], Done)
        assert pieces[-1].degradations == ("formality_ignored",)


async def test_a_limit_counts_words(tmp_path: Path) -> None:
    write(tmp_path, "eng-spa", "upper")
    async with engine_of(tmp_path) as engine:
        pieces = [piece async for piece in engine.translate(Ask("one two three", EN_ES, max_tokens=2))]
        assert pieces[0] == Delta("ONE TWO")
        assert isinstance(pieces[1], Done)
        assert pieces[1].finish_reason is FinishReason.LENGTH
        assert await said(engine, "one two three", max_tokens=3) == "ONE TWO THREE"


async def test_a_sentence_that_is_too_long_is_not_begun(tmp_path: Path) -> None:
    write(tmp_path, "eng-spa", "upper")
    async with engine_of(tmp_path) as engine:
        with pytest.raises(SentenceTooLong):
            await said(engine, "x" * (LONGEST + 1))


async def test_a_pair_that_is_not_installed_says_nothing_about_its_health(tmp_path: Path) -> None:
    write(tmp_path, "eng-spa", "upper")
    async with engine_of(tmp_path) as engine:
        with pytest.raises(EngineFailed) as failed:
            await said(engine, "hallo", Direction("de", "fr"))
        assert not failed.value.counts


@pytest.mark.parametrize("way", ["garbage", "another's", "doubles", "invents", "empty", "endless"])
async def test_what_is_no_answer_to_the_sentence_is_never_given_out(tmp_path: Path, way: str) -> None:
    write(tmp_path, "eng-spa", way)
    async with engine_of(tmp_path, answer_s=20.0) as engine:
        with pytest.raises(EngineFailed) as failed:
            await said(engine, "one ~ two")
        assert failed.value.counts
        assert "two" not in failed.value.why


async def test_programs_that_end_while_they_have_a_sentence_are_started_anew_and_get_it_again(
    tmp_path: Path,
) -> None:
    write(tmp_path, "eng-spa", "dies once of x")
    async with engine_of(tmp_path) as engine:
        assert await said(engine, "x is still here") == "x is still here"
        assert len(list(tmp_path.glob("started-*"))) == 2


async def test_programs_that_always_end_fail_the_sentence_and_then_the_pair(tmp_path: Path) -> None:
    write(tmp_path, "eng-spa", "dies")
    write(tmp_path, "spa-eng", "upper")
    async with ApertiumEngine(tmp_path) as engine:
        await engine.probe()
        with pytest.raises(EngineFailed, match="ended"):
            await said(engine, "hello")
        assert await said(engine, "hola", ES_EN) == "HOLA"
        await engine.probe()
        assert set(engine.directions) == {ES_EN}


async def test_a_pair_that_recovers_is_found_by_a_probe(tmp_path: Path) -> None:
    write(tmp_path, "eng-spa", "dies of x")
    async with ApertiumEngine(tmp_path) as engine:
        await engine.probe()
        with pytest.raises(EngineFailed):
            await said(engine, "x")
        await engine.probe()
        assert set(engine.directions) == {EN_ES}
        assert await said(engine, "y") == "y"


async def test_an_engine_none_of_whose_pairs_works_is_down_and_says_why(tmp_path: Path) -> None:
    write(tmp_path, "eng-spa", "dies")
    async with ApertiumEngine(tmp_path) as engine:
        with pytest.raises(EngineFailed, match="eng-spa: one of its programs ended"):
            await engine.probe()
        assert not engine.directions
        assert "eng-spa" in engine.error


async def test_a_stall_fails_the_sentence_and_the_next_one_gets_fresh_programs(tmp_path: Path) -> None:
    write(tmp_path, "eng-spa", "waits for x")
    async with engine_of(tmp_path, answer_s=2.0) as engine:
        stalled = engine.groups()[EN_ES]
        with pytest.raises(EngineFailed, match="no answer within 2 s"):
            await said(engine, "x")
        await until(lambda: not processes_of(stalled))
        assert await said(engine, "y") == "y"


@pytest.mark.parametrize("place", [0, 1, 2])
async def test_a_killed_program_is_replaced_before_the_next_sentence_is_lost(
    tmp_path: Path, place: int
) -> None:
    write(tmp_path, "eng-spa", "upper", "upper", "upper")
    async with engine_of(tmp_path) as engine:
        group = engine.groups()[EN_ES]
        os.kill(sorted(processes_of(group))[place], signal.SIGKILL)
        assert await said(engine, "again") == "AGAIN"
        assert engine.groups()[EN_ES] != group


async def test_a_cancelled_sentence_is_thrown_away_and_nobody_else_gets_its_answer(tmp_path: Path) -> None:
    write(tmp_path, "eng-spa", "waits for x")
    async with engine_of(tmp_path) as engine:
        cancelled = asyncio.create_task(said(engine, "x marks it"))
        await until((tmp_path / "waiting").exists)
        behind = asyncio.create_task(said(engine, "b"))
        cancelled.cancel()
        assert isinstance(
            (await asyncio.gather(cancelled, return_exceptions=True))[0], asyncio.CancelledError
        )
        (tmp_path / "go").write_bytes(b"")
        assert await behind == "b"
        assert len(list(tmp_path.glob("started-*"))) == 1


async def test_the_urgent_go_first_and_among_equals_the_one_that_is_due_first(tmp_path: Path) -> None:
    write(tmp_path, "eng-spa", "waits for x")
    async with engine_of(tmp_path) as engine:
        order: list[str] = []

        async def one(text: str, priority: Priority, due: float) -> None:
            order.append(
                await said(engine, text, priority=priority, due=asyncio.get_running_loop().time() + due)
            )

        async with asyncio.TaskGroup() as group:
            group.create_task(one("x", Priority.BATCH, 90))
            await until((tmp_path / "waiting").exists)
            for text, priority, due in (
                ("batch", Priority.BATCH, 50),
                ("later", Priority.DEFAULT, 60),
                ("sooner", Priority.DEFAULT, 55),
                ("now", Priority.INTERACTIVE, 99),
            ):
                group.create_task(one(text, priority, due))
            await until(lambda: engine._pairs[EN_ES]._jobs.qsize() == 4)
            (tmp_path / "go").write_bytes(b"")
        assert order == ["x", "now", "sooner", "later", "batch"]


async def test_too_many_that_wait_and_those_whose_time_is_over_do_not_count_against_it(
    tmp_path: Path,
) -> None:
    write(tmp_path, "eng-spa", "waits for x")
    async with engine_of(tmp_path, queue=1) as engine:
        busy = asyncio.create_task(said(engine, "x"))
        await until((tmp_path / "waiting").exists)
        waits = asyncio.create_task(said(engine, "too late", due=asyncio.get_running_loop().time()))
        await until(lambda: engine._pairs[EN_ES]._jobs.qsize() == 1)
        with pytest.raises(EngineFailed) as full:
            await said(engine, "one more")
        assert not full.value.counts
        (tmp_path / "go").write_bytes(b"")
        assert await busy == "x"
        with pytest.raises(EngineFailed) as late:
            await waits
        assert not late.value.counts


async def test_who_waits_no_longer_takes_no_place(tmp_path: Path) -> None:
    write(tmp_path, "eng-spa", "waits for x")
    async with engine_of(tmp_path, queue=2) as engine:
        busy = asyncio.create_task(said(engine, "x"))
        await until((tmp_path / "waiting").exists)
        jobs = engine._pairs[EN_ES]._jobs
        gone = [asyncio.create_task(said(engine, "nobody wants it")) for _ in range(2)]
        await until(lambda: jobs.qsize() == 2)
        for each in gone:
            each.cancel()
        await asyncio.gather(*gone, return_exceptions=True)
        waits = [asyncio.create_task(said(engine, text)) for text in ("a", "b")]
        await until(lambda: sum(not job.answer.done() for job in jobs._queue) == 2)
        with pytest.raises(EngineFailed, match="2 sentences wait"):
            await said(engine, "one more")
        (tmp_path / "go").write_bytes(b"")
        assert await asyncio.gather(busy, *waits) == ["x", "a", "b"]


async def test_a_machine_without_descriptors_fails_the_sentence_and_the_next_one_is_translated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without() -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    write(tmp_path, "eng-spa", "upper")
    async with engine_of(tmp_path, idle_s=0.01) as engine:
        await until(lambda: not engine.groups())
        with monkeypatch.context() as patch:
            patch.setattr(socket, "socketpair", without)
            with pytest.raises(EngineFailed, match="cannot be started: OSError"):
                async with asyncio.timeout(20):
                    await said(engine, "hello")
        async with asyncio.timeout(20):
            assert await said(engine, "hello") == "HELLO"


async def test_an_error_that_nobody_expects_fails_the_sentence_and_the_next_one_is_translated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    write(tmp_path, "eng-spa", "upper")
    async with engine_of(tmp_path, idle_s=0.01) as engine:
        await until(lambda: not engine.groups())
        with monkeypatch.context() as patch:
            patch.setattr(apertium_pipeline, "_start", breaks)
            with pytest.raises(EngineFailed, match="it broke: RuntimeError") as failed:
                async with asyncio.timeout(20):
                    await said(engine, "hello")
            assert failed.value.counts
        async with asyncio.timeout(20):
            assert await said(engine, "hello") == "HELLO"


async def test_a_pair_with_nothing_to_do_ends_its_programs_and_starts_them_when_it_has(
    tmp_path: Path,
) -> None:
    write(tmp_path, "eng-spa", "upper")
    async with engine_of(tmp_path, idle_s=0.01) as engine:
        await until(lambda: not engine.groups())
        assert await said(engine, "hello") == "HELLO"


async def test_closing_ends_every_program_and_whoever_waits(tmp_path: Path) -> None:
    write(tmp_path, "eng-spa", "waits for x")
    async with engine_of(tmp_path) as engine:
        group = engine.groups()[EN_ES]
        waiting = [asyncio.create_task(said(engine, text)) for text in ("x", "y")]
        await until((tmp_path / "waiting").exists)
    for outcome in await asyncio.gather(*waiting, return_exceptions=True):
        assert isinstance(outcome, EngineFailed)
        assert not outcome.counts
    await until(lambda: not processes_of(group))


async def test_a_generator_that_is_closed_leaves_nothing(tmp_path: Path) -> None:
    write(tmp_path, "eng-spa", "upper")
    async with engine_of(tmp_path) as engine:
        async with aclosing(engine.translate(Ask("hello", EN_ES))) as pieces:
            assert await anext(pieces) == Delta("HELLO")
        assert await said(engine, "next") == "NEXT"


async def test_a_directory_without_pairs_says_what_to_do(tmp_path: Path) -> None:
    async with ApertiumEngine(tmp_path / "nothing") as engine:
        with pytest.raises(EngineFailed, match="apertium-eng-spa"):
            await engine.probe()
        assert not engine.directions


async def test_a_pair_that_is_installed_later_is_found(tmp_path: Path) -> None:
    async with ApertiumEngine(tmp_path / "modes") as engine:
        with pytest.raises(EngineFailed):
            await engine.probe()
        (tmp_path / "modes").mkdir()
        write(tmp_path / "modes", "eng-spa", "upper")
        await engine.probe()
        assert set(engine.directions) == {EN_ES}
        assert await said(engine, "hello") == "HELLO"


def test_modes_are_plain_pairs_whose_programs_and_files_are_there(tmp_path: Path) -> None:
    there = tmp_path / "pair.bin"
    there.touch()
    for name, line in {
        "eng-spa": f"cat '{there}' | cat $1 {there} | cat -g $2 {there}",
        "es-fr": "cat | cat",
        "spa-eng": f"cat {tmp_path / 'missing.bin'}",
        "fra-eng": "no-such-program-anywhere",
        "deu-eng": "cat 'unbalanced",
        "eng-deu": "cat | | cat",
        "eng-cat_valencia": "cat",
        "eco-fr-es": "cat",
        "spa-ast": "cat",
    }.items():
        (tmp_path / f"{name}.mode").write_text(line)
    (tmp_path / "cat-eng.mode").write_bytes(b"\xff\xff")
    modes = installed(tmp_path)
    assert {str(direction): mode.name for direction, mode in modes.items()} == {
        "en-es": "eng-spa",
        "es-fr": "es-fr",
    }
    assert modes[EN_ES].stages == (
        ("cat", "-z", str(there)),
        ("cat", "-z", "-n", str(there)),
        ("cat", "-z", "-g", str(there)),
    )
    assert installed(tmp_path / "nowhere") == {}


@pytest.mark.parametrize(
    ("text", "request_"),
    [
        ("Hello, world!", "Hello, world![][=7\n]\0"),
        ("No full stop", "No full stop.[][=7\n]\0"),
        ("  two\nlines. ", "two[0]lines.[][=7\n]\0"),
        ("[x] a@b.org/c ^$", "[0]x[1] [2][3]c [4].[][=7\n]\0"),
        ("see http://x.org/a?b=c.", "see [0].[][=7\n]\0"),
        ("a <b>dog</b> <|end|> 1 < 2", "a [0]dog[1] [2] 1 [3] 2.[][=7\n]\0"),
        ("www.x.org, ok?", "[0], ok?[][=7\n]\0"),
        (f"to {PHRASE} \0 now", "to [0] [1] now.[][=7\n]\0"),
        ("cafe\u0301", "café.[][=7\n]\0"),
    ],
)
def test_what_is_no_word_travels_beside_the_words(text: str, request_: str) -> None:
    assert Framed(text, 7).request.decode() == request_


@given(st.text(), st.integers(0, 1_000_000))
def test_programs_see_nothing_that_could_stop_them_and_an_echo_gives_the_text_back(
    text: str, number: int
) -> None:
    import unicodedata

    framed = Framed(text, number)
    body = framed.request.removesuffix(b"\0").decode()
    assert not set(body) & set("\0\\^$<>{}@/~")
    assert framed.read(body.encode()) == unicodedata.normalize("NFC", text).strip()


@given(st.binary())
def test_any_bytes_are_an_answer_or_garbage(data: bytes) -> None:
    framed = Framed("a ~ b", 3)
    try:
        framed.read(data)
    except Garbage:
        return
    assert data.endswith(b"[=3\n]")
