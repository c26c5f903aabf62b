"""What trials found of versions, kept on disk: a version never changes, so a restart need not try it again."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import structlog

from trunkline_modelstore.trial import Refused
from trunkline_modelstore.version import LocalVersion, refused

log = structlog.get_logger("trunkline.modelstore")


class Facts(Protocol):
    """What a trial found."""

    def to_json(self) -> str:
        """One line."""
        ...


F = TypeVar("F", bound=Facts)


class Verdicts(Generic[F]):
    """The facts of versions that were found good, by digest. Replicas may share the directory.

    Args:
        directory: made when it is first needed.
        engine: what ran them, its version, and the revision of the trial: another one tries them again.
        parse: facts from their JSON. Raises ValueError, KeyError or TypeError.
    """

    def __init__(self, directory: Path, engine: str, parse: Callable[[str], F]) -> None:
        self._directory = directory
        self._engine = engine
        self._parse = parse

    def find(self, digest: str) -> F | None:
        """What was found; None when nothing is kept, or nothing that can be read."""
        try:
            return self._parse(self._file(digest).read_text(encoding="utf-8"))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def keep(self, digest: str, facts: F) -> None:
        """Keeps what was found.

        Raises:
            OSError: it cannot be written.
        """
        self._directory.mkdir(parents=True, exist_ok=True)
        # In place as a whole or not at all: another replica may read it at any moment.
        handle, unfinished = tempfile.mkstemp(dir=self._directory)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(facts.to_json())
        Path(unfinished).replace(self._file(digest))

    def _file(self, digest: str) -> Path:
        return self._directory / f"{digest}-{self._engine}.json"


def checked(version: LocalVersion, check: Callable[[Path], F], verdicts: Verdicts[F] | None) -> F:
    """What is known of a version: what was found before, or what a trial finds now.

    Args:
        version: its files.
        check: tries a directory. Raises Refused, or RuntimeError when it could not be tried.
        verdicts: where it is kept; None tries it every time.

    Raises:
        NotAllowed: MODEL_REFUSED.
        RuntimeError: as `check`.
    """
    known = None if verdicts is None else verdicts.find(version.digest)
    if known is not None:
        return known
    try:
        facts = check(version.directory)
    except Refused as refusal:
        raise refused(version.name, str(refusal)) from refusal
    if verdicts is not None:
        try:
            verdicts.keep(version.digest, facts)
        except OSError as error:
            log.warning("what the check found is not kept", version=version.name, error=error.strerror)
    return facts
