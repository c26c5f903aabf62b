"""What the store asks of an engine."""

from __future__ import annotations

from typing import Protocol, TypeVar

from trunkline_modelstore.version import LocalVersion

M = TypeVar("M")


class Loader(Protocol[M]):
    """Makes a model out of files. Every method runs in a thread, never on the event loop."""

    def load(self, version: LocalVersion) -> M:
        """Loads a version.

        Raises:
            NotAllowed: the files are no model that this server can run (see `refused`); final.
            Exception: it did not work this time.
        """
        ...

    def size_bytes(self, model: M) -> int:
        """What the model takes of the byte budget."""
        ...

    def warm(self, model: M) -> None:
        """Runs the model until its first request is as fast as the next. Raises like `load`."""
        ...

    def unload(self, model: M) -> None:
        """Gives its memory back. Nobody uses it any more."""
        ...
