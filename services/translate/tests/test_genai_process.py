"""The process of a pipeline, by what is said to it and what it says."""

from __future__ import annotations

import fcntl
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from socket import socket, socketpair

import psutil
import pytest
from genai_parts import ARTIFACT, BOUND_S, alone, opening, prompt, shipped

from trunkline_translate.genai_messages import (
    Began,
    Begin,
    Broke,
    Cancel,
    Gone,
    Message,
    Over,
    Said,
    Steps,
    decode,
    encode,
)
from trunkline_translate.genai_process import NotHere, Process
from trunkline_translate.genai_worker import Line


@contextmanager
def open_one() -> Iterator[tuple[Process, socket]]:
    process = Process(opening())
    with process.connect() as connection:
        connection.settimeout(BOUND_S)
        yield process, connection
        process.end()


def told(connection: socket) -> Iterator[Message]:
    """What it says."""
    with connection.makefile("rb") as lines:
        for line in lines:
            yield decode(line)


def test_it_makes_sequences():
    with open_one() as (_, connection):
        text = "I would like two coffees."
        connection.sendall(encode(Begin(1, prompt(text), 32, 1, 1, float("inf"))))
        said = ""
        for message in told(connection):
            assert isinstance(message, Began | Steps | Said | Over)
            if isinstance(message, Said | Over):
                said += message.text
            if isinstance(message, Over):
                break
        assert said == alone(text)


def test_orders_may_come_in_pieces():
    line = encode(Begin(1, prompt("x"), 2, 1, 1, float("inf")))
    with open_one() as (_, connection):
        for byte in line:
            connection.send(bytes([byte]))
        assert next(told(connection)) == Began(1)


def test_why_it_broke_holds_nothing_of_a_prompt():
    with open_one() as (_, connection):
        connection.sendall(encode(Begin(1, prompt("secret \ud800"), 2, 1, 1, float("inf"))))
        *_, broke = told(connection)
        assert isinstance(broke, Broke)
        assert "incompatible function arguments" in broke.why
        assert "secret" not in broke.why


def test_it_ends_when_it_is_let_go():
    with open_one() as (process, _):
        assert process.end() == "exit status 0"
        assert not psutil.pid_exists(process.pid)
        # Once more changes nothing.
        assert process.end() == "exit status 0"
        with pytest.raises(OSError, match="Bad file descriptor"):
            process.connect()


@pytest.mark.parametrize(
    ("number", "name"), [(signal.SIGSEGV, "SIGSEGV"), (signal.SIGRTMIN + 6, "signal 40")]
)
def test_how_it_was_killed_is_known(number, name):
    with open_one() as (process, _):
        os.kill(process.pid, number)
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert process.end() == name


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_interrupts_the_service_does_not_interrupt_its_pipelines(number):
    with open_one() as (process, connection):
        os.kill(process.pid, number)
        connection.sendall(encode(Begin(1, prompt("x"), 2, 1, 1, float("inf"))))
        assert next(told(connection)) == Began(1)


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2048), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("many_descriptors")
def test_a_descriptor_may_have_any_number():
    ours, theirs = socketpair()
    with ours, theirs, socket(fileno=fcntl.fcntl(theirs.fileno(), fcntl.F_DUPFD, 1100)) as high:
        line = Line(high)
        assert line.take(wait=False) == []
        ours.sendall(encode(Cancel(1)))
        assert line.take(wait=False) == [Cancel(1)]
        ours.close()
        with pytest.raises(EOFError):
            line.take(wait=False)


def test_an_error_that_nobody_expects_is_on_standard_error():
    ours, theirs = socketpair()
    with ours, theirs:
        ours.sendall(b"no order\n")
        worker = subprocess.run(
            [sys.executable, "-m", "trunkline_translate.genai_worker", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            capture_output=True,
            text=True,
            timeout=BOUND_S,
        )
    assert worker.returncode == 1
    assert "JSONDecodeError" in worker.stderr


def test_it_does_not_outlive_a_service_that_was_killed():
    program = f"""
import sys, time
sys.path.insert(0, {str(Path(__file__).parent)!r})
from genai_parts import opening
from trunkline_translate.genai_process import Process
process = Process(opening())
print(process.pid, flush=True)
sys.stdin.read()
"""
    service = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    pipeline = psutil.Process(int(service.stdout.readline()))
    service.kill()
    service.communicate()
    assert not psutil.wait_procs([pipeline], BOUND_S)[1]


def test_a_device_that_is_not_there_is_not_opened():
    with pytest.raises(NotHere, match="none that OpenVINO knows"):
        Process(opening(device="NPU"))


def test_files_that_cannot_be_opened_say_why(tmp_path):
    with pytest.raises(RuntimeError, match="Could not find a model"):
        Process(opening()._replace(directory=str(tmp_path)))


def test_a_crash_while_it_opens_is_an_error_and_this_process_lives(tmp_path):
    model = shutil.copytree(ARTIFACT, tmp_path / "model")
    (model / "openvino_detokenizer.bin").write_bytes(b"")
    with pytest.raises(RuntimeError):
        Process(opening()._replace(directory=str(model)))


def test_one_that_does_not_come_to_life_is_killed():
    with pytest.raises(RuntimeError, match="not open after 1e-06 s"):
        Process(opening(), open_s=1e-6)
    assert not [each for each in psutil.Process().children() if "genai_worker" in " ".join(each.cmdline())]


@pytest.mark.parametrize("message", [Gone(3), Said(1, 'a\n"ä\u2028日'), Over(1, "", "stopped", 2, 3)])
def test_what_is_said_is_heard(message):
    line = encode(message)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert decode(line) == message


def test_the_model_that_ships_has_facts_that_travel():
    assert opening().facts == shipped().to_json()
