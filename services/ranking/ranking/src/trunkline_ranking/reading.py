"""Reading features within a request's time, or doing without."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import structlog

from trunkline_hop.errors import Fault, Overloaded, TooLate, Unavailable
from trunkline_hop.telemetry import span
from trunkline_ranking.features import FeatureQuery, FeatureRow, Features
from trunkline_ranking.patience import Patience

log = structlog.get_logger("trunkline.ranking")


@dataclass(frozen=True, slots=True)
class Reading:
    """Reads features as long as it is worth it."""

    features: Features
    patience: Patience

    async def read(
        self, query: FeatureQuery, entities: Mapping[str, str], remaining_s: float | None
    ) -> FeatureRow | None:
        """The features; None when they cannot be read in time.

        Args:
            query: which features.
            entities: one id by entity type.
            remaining_s: time left for the request's answer; None: any.
        """
        timeout_s = self.patience.wait_s(remaining_s)
        if timeout_s <= 0:
            return None
        try:
            with span("features"):
                return await self.features.read(query, entities, timeout_s)
        except (Unavailable, Overloaded, TooLate) as fault:
            log.warning("features unavailable", reason=fault.reason)
        except Fault as fault:
            # A view that nobody declared, say: a defect of the installation, and the answer is as good.
            log.error("features refused", reason=fault.reason, error=fault.message)
        return None
