"""One page of what the registry lists."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

PAGE_BYTES = 4 * 2**20
"""A page ends early rather than outgrow what one message can carry."""

ItemT = TypeVar("ItemT")


@dataclass(frozen=True, slots=True)
class Rows(Generic[ItemT]):
    """What a store gives for one page."""

    items: Sequence[ItemT]
    more: bool
    """Whether others follow."""


@dataclass(frozen=True, slots=True)
class Page(Generic[ItemT]):
    """One page of a list."""

    items: Sequence[ItemT]
    next_token: str
    """Empty on the last page."""
