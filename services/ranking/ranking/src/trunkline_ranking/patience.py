"""How long a request waits for what stands behind it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Patience:
    """The wait for one upstream."""

    longest_s: float
    """However much time there is."""
    margin_s: float
    """Time of the request that the wait leaves to the rest of it."""

    def wait_s(self, remaining_s: float | None) -> float:
        """How long to wait when this much is left (None: any); 0 or less: not at all."""
        return self.longest_s if remaining_s is None else min(self.longest_s, remaining_s - self.margin_s)
