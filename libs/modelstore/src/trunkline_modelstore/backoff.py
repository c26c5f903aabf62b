"""Pauses between attempts."""

from __future__ import annotations

import random
from dataclasses import dataclass, field


@dataclass(slots=True)
class Backoff:
    """Exponential backoff with "equal jitter" (AWS Architecture Blog, "Exponential Backoff And Jitter")."""

    initial_s: float = 0.2
    maximum_s: float = 10.0
    random: random.Random = field(default_factory=random.Random)
    attempts: int = 0

    def next_s(self) -> float:
        """How long to pause now: between half of this attempt's ceiling and all of it."""
        ceiling = min(self.maximum_s, self.initial_s * 2.0 ** min(self.attempts, 30))
        self.attempts += 1
        return ceiling * self.random.uniform(0.5, 1.0)

    def reset(self) -> None:
        """Start over: something worked."""
        self.attempts = 0
