"""The process in which a pipeline works: `python -m trunkline_translate.genai_worker DESCRIPTOR`.

A step of OpenVINO GenAI holds the interpreter's lock, for tens of milliseconds with a hundred million parameters, and
an error in a driver or a kernel ends the process it is in. The descriptor is a socket's; see `genai_messages`. When
its other end is closed, the process ends.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from trunkline_translate.facts import Facts
from trunkline_translate.genai_batch import Batch
from trunkline_translate.genai_messages import (
    Begin,
    Broke,
    Cancel,
    CannotOpen,
    Message,
    News,
    Open,
    Opened,
    decode,
    encode,
)
from trunkline_translate.genai_pipeline import GenaiPipeline, NoSuchDevice
from trunkline_translate.genai_trial import prove

_CHUNK = 1 << 16


class Line:
    """The connection to the driver.

    Args:
        connection: a socket, blocking.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._rest = b""

    def say(self, messages: Sequence[News]) -> None:
        """Sends these. It blocks while the other end does not read."""
        self._connection.sendall(b"".join(map(encode, messages)))

    def take(self, *, wait: bool) -> list[Message]:
        """What came meanwhile, or if it is to wait, at least one message.

        Raises:
            EOFError: nobody is at the other end any more.
        """
        # Not by `select`, which takes no descriptor from 1024 on: its number is the one that the service had for it.
        flags = 0 if wait else socket.MSG_DONTWAIT
        while True:
            try:
                chunk = self._connection.recv(_CHUNK, flags)
            except BlockingIOError:
                return []
            if not chunk:
                raise EOFError
            *lines, self._rest = (self._rest + chunk).split(b"\n")
            if lines:
                return [decode(line) for line in lines]


def work(line: Line) -> None:
    """Opens a pipeline, proves it, and runs sequences until nobody is at the other end, or the pipeline is broken."""
    (order,) = line.take(wait=True)
    assert isinstance(order, Open)
    facts = Facts.from_json(order.facts)
    directory = Path(order.directory)
    try:
        pipeline = GenaiPipeline(
            directory,
            order.device,
            facts,
            sequences=order.sequences,
            threads=order.threads,
            cache_mb=order.cache_mb,
        )
        prove(pipeline, directory, facts)
    except NoSuchDevice as error:
        line.say([CannotOpen(str(error))])
        return
    except Exception as error:
        line.say([Broke(str(error))])
        return
    line.say([Opened()])
    batch = Batch(pipeline, places=facts.places, sequences=order.sequences, say=line.say)
    while True:
        for each in line.take(wait=not batch.busy):
            assert isinstance(each, Begin | Cancel)
            batch.take(each)
        try:
            batch.turn()
        except OSError:
            raise
        except Exception as error:
            # What a function of OpenVINO refuses to take, such as somebody's words, is quoted behind this.
            line.say([Broke(str(error).partition("Invoked with:")[0].strip())])
            return


if __name__ == "__main__":
    # Who serves decides when to stop, and closes the connection then.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    status = 1
    try:
        work(Line(socket.socket(fileno=int(sys.argv[1]))))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        status = 0
    except Exception:
        # Nobody sees it otherwise: this process ends before the interpreter would say it.
        traceback.print_exc()
    finally:
        # Nothing here outlives the process, and to free a model has crashed (2026.4, `CPUStreamsExecutor`).
        sys.stderr.flush()
        os._exit(status)
