"""What tells speakers apart on this server: a network that the registry holds, or signal processing alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from trunkline_modelstore.residents import Resident
from trunkline_speech.embedding import Embedding

Voices = Callable[[], Embedding]
"""The embedding for a session or recording that begins now."""


class Networks(Protocol):
    """The part of `ModelStore` that is asked."""

    def find(self, name: str) -> Resident[Any] | None:
        """The resident that a name means, when it is in memory."""
        ...


def registered(networks: Networks, name: str, otherwise: Embedding) -> Voices:
    """The version in force of a model while there is one, else another embedding.

    A session keeps the one it began with: its memory is given back with the last session, not by the store.
    """

    def now() -> Embedding:
        resident = networks.find(name)
        return otherwise if resident is None else resident.model

    return now
