"""What the client side of a hop can be told, with the defaults every hop between services uses."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from trunkline_hop.client_tls import ClientTls
from trunkline_hop.settings import ServiceSettings

MESSAGE_BYTES = 16 * 1024 * 1024
"""Largest message in both directions, the same on both ends of every hop."""


class Balancing(StrEnum):
    """How calls are spread over the endpoints of an upstream."""

    ROUND_ROBIN = "round_robin"
    """In turn."""
    LEAST_LOADED = "least_loaded"
    """The one with fewer calls in flight of two drawn at random (Mitzenmacher 2001)."""
    CONSISTENT_HASH = "consistent_hash"
    """By the call's `x-trunkline-session` (rendezvous hashing); in turn when it has none."""


@dataclass(frozen=True, slots=True)
class ClientSettings:
    """How a channel treats its calls."""

    balancing: Balancing = Balancing.ROUND_ROBIN
    """How calls are spread."""
    health_check: bool = True
    """Watch grpc.health.v1 of every endpoint for the services called, and call only those that serve."""

    attempts: int = 3
    """Attempts a call makes at most, the first one included."""
    backoff_initial_s: float = 0.02
    """Longest wait before the second attempt, in seconds; the wait is drawn between 0 and this."""
    backoff_maximum_s: float = 0.5
    """Longest wait before any attempt, in seconds. It doubles from one attempt to the next up to here."""
    retry_ratio: float = 0.1
    """Extra attempts (retries and hedges) that one call pays for."""
    retry_burst: int = 10
    """Extra attempts that may be made at once, before the ratio binds."""
    hedge_quantile: float = 0.95
    """A hedged call sends its second attempt after this quantile of the method's latencies."""
    hedge_samples: int = 100
    """Answers to have seen before anything is hedged."""

    breaker_failures: int = 3
    """Consecutive failures that open an endpoint's breaker."""
    breaker_error_rate: float = 0.5
    """Share of failures over the window that opens it."""
    breaker_calls: int = 20
    """Fewest calls in the window before the share counts."""
    breaker_window_s: float = 10.0
    """Length of the sliding window, in seconds."""
    breaker_open_s: float = 30.0
    """How long it stays open before one probe goes through, in seconds."""
    breaker_deadline_floor_s: float = 0.5
    """A missed deadline counts as a failure only when the attempt had at least this long, in seconds, so
    that one impatient caller opens the breaker for nobody. Below the 1 s that interactive methods have by
    default, of which each hop passes on a little less."""

    deadline_margin_s: float = 0.002
    """Kept back from what is left of the call being served, in seconds, so that its answer can still travel."""
    resolve_interval_s: float = 30.0
    """How often a DNS name is looked up again, in seconds."""
    resolve_pause_s: float = 1.0
    """Shortest time between two look-ups of a name, also after failures, in seconds."""
    keepalive_s: float = 30.0
    """Time between HTTP/2 pings, in seconds; servers accept 30 or more."""
    connect_timeout_s: float = 1.0
    """Longest wait for a connection to come about, TLS and HTTP/2 settings included, in seconds: three round trips,
    with a server that is busy."""
    reconnect_initial_s: float = 0.1
    """First wait before a broken connection is tried again, in seconds."""
    reconnect_maximum_s: float = 2.0
    """Longest wait before a broken connection is tried again, in seconds."""

    tls: ClientTls | None = None
    """Certificates; None connects in plain text."""
    tls_reload_s: float = 10.0
    """How often the certificate files are looked at, in seconds. When they changed, calls that begin later
    use new connections, and those in flight finish on the old ones."""

    @classmethod
    def of(cls, settings: ServiceSettings) -> ClientSettings:
        """The defaults with the TLS files of a process."""
        if settings.tls_ca is None:
            return cls()
        return cls(tls=ClientTls(settings.tls_ca, settings.tls_client_cert, settings.tls_client_key))
