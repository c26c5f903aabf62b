"""The stages of a version and the ways between them.

    from          to
    DEVELOPMENT   STAGING, ARCHIVED
    STAGING       PRODUCTION, ARCHIVED
    PRODUCTION    ARCHIVED
    ARCHIVED      STAGING, PRODUCTION (a rollback)

Nothing goes back to DEVELOPMENT, nothing skips STAGING on its way up, and a version is not moved to where it
already is.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum

from trunkline_hop.errors import NotAllowed


class Stage(IntEnum):
    """Where a version is in its life. The numbers are those of trunkline.registry.v1.Stage."""

    DEVELOPMENT = 1
    STAGING = 2
    PRODUCTION = 3
    ARCHIVED = 4


ALLOWED: Mapping[Stage, frozenset[Stage]] = {
    Stage.DEVELOPMENT: frozenset({Stage.STAGING, Stage.ARCHIVED}),
    Stage.STAGING: frozenset({Stage.PRODUCTION, Stage.ARCHIVED}),
    Stage.PRODUCTION: frozenset({Stage.ARCHIVED}),
    Stage.ARCHIVED: frozenset({Stage.STAGING, Stage.PRODUCTION}),
}


def check_transition(name: str, old: Stage, new: Stage) -> None:
    """Passes when a version may move from `old` to `new`.

    Raises:
        NotAllowed: STAGE_POLICY, with what would be allowed.
    """
    if new not in ALLOWED[old]:
        allowed = ", ".join(stage.name for stage in sorted(ALLOWED[old]))
        raise NotAllowed(
            "STAGE_POLICY",
            f"A version in {old.name} can move to {allowed}, not to {new.name}.",
            subject=name,
            metadata={"stage": old.name, "allowed": allowed},
        )
