"""The live vectors of a collection at one moment, for the build of a snapshot."""

from __future__ import annotations


class Rows:
    """Frozen: later changes to the collection do not show."""

    def __len__(self) -> int: ...
