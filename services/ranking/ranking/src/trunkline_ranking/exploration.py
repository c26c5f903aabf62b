"""Epsilon-greedy places, with the exact probability of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Placed(Generic[T]):
    """A candidate and how it came to its place."""

    candidate: T
    propensity: float
    """Probability of this candidate at this place, given the places above."""


def place(candidates: Sequence[T], count: int, rate: float, random: Random) -> list[Placed[T]]:
    """Fills places from candidates: each with a uniformly random one of those left with probability `rate`, else
    with the best one left (epsilon-greedy, Sutton and Barto 2018, section 2.2, place by place).

    Args:
        candidates: the best first.
        count: how many places at most.
        rate: 0 to 1.
        random: where chance comes from.
    """
    if rate <= 0:
        return [Placed(candidate, 1.0) for candidate in candidates[:count]]
    left = list(candidates)
    placed: list[Placed[T]] = []
    while left and len(placed) < count:
        each = rate / len(left)
        chosen = random.randrange(len(left)) if random.random() < rate else 0
        placed.append(Placed(left.pop(chosen), 1.0 - rate + each if chosen == 0 else each))
    return placed
