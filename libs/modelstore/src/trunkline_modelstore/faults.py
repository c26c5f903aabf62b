"""What a store says to who cannot have a lease."""

from __future__ import annotations

from datetime import timedelta

from trunkline_hop.errors import Fault, NotAllowed, NotFound, Overloaded, Unavailable

RETRY_AFTER = timedelta(seconds=1)


def loading(name: str) -> Unavailable:
    """Not yet in memory."""
    return Unavailable(
        "LOADING", f"{name} is not in memory yet", retry_after=RETRY_AFTER, metadata={"model": name}
    )


def unknown(reason: str, name: str) -> NotFound:
    """No such model or version."""
    kind = "model" if reason == "MODEL_UNKNOWN" else "version"
    return NotFound(reason, f"no {kind} {name} here", resource_type=kind, resource_name=name)


def again(fault: NotAllowed | Overloaded) -> Fault:
    """The same fault for another caller: a raised exception collects the frames it passed."""
    if isinstance(fault, NotAllowed):
        return NotAllowed(fault.reason, fault.message, subject=fault.subject, metadata=fault.metadata)
    return Overloaded(fault.reason, fault.message, retry_after=fault.retry_after, metadata=fault.metadata)
