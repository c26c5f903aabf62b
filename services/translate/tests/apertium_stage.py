"""Programs for tests that speak as Apertium's do, and answer as a test tells them: `python apertium_stage.py WAY`.

A mode of one such stage reads a text up to a NUL, and answers up to a NUL.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path


def answers(way: str, place: str, read: bytes) -> bytes | None:
    """What to answer to a text; None to end instead."""
    once = Path(place, "once")
    match way:
        case "upper":
            words, _, end = read.rpartition(b"[=")
            return words.upper() + b"[=" + end
        case "moves":
            words, _, end = read.rpartition(b"[]")
            return b"[0] " + words.replace(b"[0]", b"there") + b"[]" + end
        case "dies":
            return None
        case "dies once of x":
            if b"x" not in read or once.exists():
                return read
            once.touch()
            return None
        case "garbage":
            return b"\xff\xfe" + read
        case "another's":
            return read.replace(b"[=", b"[=9")
        case "doubles":
            return b"[0]" + read
        case "invents":
            return b"[77]" + read
        case "empty":
            return b""
        case "endless":
            return b"x" * (2 << 20) + read
        case "marks":
            return b"\\@a\\^b\\$ \\[c\\] [ ][]" + read
        case "dies of x":
            return None if b"x" in read else read
        case "waits for x":
            if b"x" in read:
                Path(place, "waiting").touch()
                Path(place, "go").read_bytes()  # a pipe: until somebody opens its other end
            return read
        case _:
            raise ValueError(way)


def main() -> None:
    way, place = sys.argv[2:4]
    Path(place, f"started-{os.getpid()}").touch()
    waiting = b""
    while part := os.read(0, 65536):
        waiting += part
        while b"\0" in waiting:
            text, _, waiting = waiting.partition(b"\0")
            answer = answers(way, place, text)
            if answer is None:
                return
            os.write(1, answer + b"\0")


if __name__ == "__main__":
    if sys.argv[1] != "-z":
        raise SystemExit("expected to be told to go on after a NUL")
    main()
