"""A circuit breaker for one endpoint, on pybreaker's states and storage.

pybreaker's own `call` holds a lock across the call and reads the wall clock, so it is used as the state
machine alone: `admit` is asked before an attempt, and one of `succeeded`, `failed` and `returned` is told
its outcome.

    closed     every attempt goes through; consecutive failures, or a share of failures over a sliding
               window, open it
    open       nothing goes through for `breaker_open_s`
    half-open  one probe goes through: it closes the breaker or opens it again; a probe that comes to no
               verdict (it was cancelled, or the server refused it) gives its place to the next

What counts as a failure is decided in `attempt.py`.
"""

from __future__ import annotations

from collections.abc import Callable

from pybreaker import (
    STATE_CLOSED,
    STATE_HALF_OPEN,
    STATE_OPEN,
    CircuitBreaker,
    CircuitBreakerListener,
    CircuitBreakerState,
    CircuitMemoryStorage,
)

from trunkline_hop.client_settings import ClientSettings

REFUSED = 0
"""The permit that is none."""
_BUCKETS = 10


class Breaker:
    """Decides which attempts may reach an endpoint.

    Every time is in seconds of one monotonic clock and is handed in by the caller.

    Args:
        settings: thresholds and times.
        changed: called with the new state's name on every transition.
    """

    def __init__(self, settings: ClientSettings, changed: Callable[[str], None] | None = None) -> None:
        self._settings = settings
        self._storage = CircuitMemoryStorage(STATE_CLOSED)
        self._machine = CircuitBreaker(
            fail_max=settings.breaker_failures,
            reset_timeout=settings.breaker_open_s,
            state_storage=self._storage,
            listeners=[_Transitions(self, changed)],
            throw_new_error_on_trip=False,
        )
        self._window = _Window(settings.breaker_window_s)
        self._closed = True  # mirrors the machine, because every attempt asks
        self._generation = 1
        self._probe_at = 0.0
        self._probe_expires = 0.0

    @property
    def state(self) -> str:
        """`closed`, `open` or `half-open`."""
        return self._machine.current_state

    @property
    def permit(self) -> int:
        """The permit of what may go on without asking; REFUSED unless closed. Takes no probe's place."""
        return self._generation if self._closed else REFUSED

    def admit(self, now: float) -> int:
        """A permit for one attempt, or REFUSED.

        The permit goes back with the outcome. One from before the last transition is ignored there, so that
        slow attempts do not judge a state they know nothing of.
        """
        if self._closed:
            return self._generation
        if now < (self._probe_at if self.state == STATE_OPEN else self._probe_expires):
            return REFUSED
        if self.state == STATE_OPEN:
            self._machine.half_open()
        self._generation += 1  # a probe that never reported loses its say to this one
        self._probe_expires = now + self._settings.breaker_open_s
        return self._generation

    def succeeded(self, permit: int, now: float) -> None:
        """The attempt was answered."""
        if permit != self._generation:
            return
        if self._closed:
            if self._machine.fail_counter:
                self._storage.reset_counter()
            self._window.add(now, failed=False)
        else:
            self._machine.state.on_success()

    def failed(self, permit: int, now: float) -> None:
        """The attempt failed in a way that speaks against the endpoint."""
        if permit != self._generation:
            return
        if self._closed:
            self._storage.increment_counter()
            self._window.add(now, failed=True)
            calls, failures = self._window.counts(now)
            settings = self._settings
            if self._machine.fail_counter < settings.breaker_failures and (
                calls < settings.breaker_calls or failures < settings.breaker_error_rate * calls
            ):
                return
        self._probe_at = now + self._settings.breaker_open_s
        self._machine.open()

    def returned(self, permit: int) -> None:
        """The attempt came to no verdict: it was cancelled, or refused by a server that is alive."""
        if permit == self._generation and not self._closed:
            self._probe_expires = 0.0

    def seen_alive(self) -> None:
        """The endpoint was heard of by other means, so that an open breaker need not wait to probe it."""
        self._probe_at = 0.0

    def retry_in(self, now: float) -> float:
        """Seconds until an attempt may go through; 0 when one may now."""
        if self._closed:
            return 0.0
        until = self._probe_at if self.state == STATE_OPEN else self._probe_expires
        return max(0.0, until - now)

    def entered(self, state: str) -> None:
        """Keeps what mirrors the machine in step with it; called by the machine's listener."""
        self._closed = state == STATE_CLOSED
        self._generation += 1
        if self._closed:
            self._window.clear()


class _Transitions(CircuitBreakerListener):
    """Hears pybreaker's transitions."""

    def __init__(self, breaker: Breaker, changed: Callable[[str], None] | None) -> None:
        self._breaker = breaker
        self._changed = changed

    def state_change(
        self, cb: CircuitBreaker, old_state: CircuitBreakerState | None, new_state: CircuitBreakerState
    ) -> None:
        self._breaker.entered(new_state.name)
        if self._changed is not None:
            self._changed(new_state.name)


class _Window:
    """Calls and failures of the last `length_s` seconds, to a tenth of it."""

    def __init__(self, length_s: float) -> None:
        self._width = length_s / _BUCKETS
        self._slot = 0
        self._calls = [0] * _BUCKETS
        self._failures = [0] * _BUCKETS

    def add(self, now: float, *, failed: bool) -> None:
        self._advance(now)
        bucket = self._slot % _BUCKETS
        self._calls[bucket] += 1
        self._failures[bucket] += failed

    def counts(self, now: float) -> tuple[int, int]:
        self._advance(now)
        return sum(self._calls), sum(self._failures)

    def clear(self) -> None:
        self._calls = [0] * _BUCKETS
        self._failures = [0] * _BUCKETS

    def _advance(self, now: float) -> None:
        slot = int(now / self._width)
        if slot == self._slot:
            return
        for passed in range(self._slot + 1, min(slot, self._slot + _BUCKETS) + 1):
            self._calls[passed % _BUCKETS] = 0
            self._failures[passed % _BUCKETS] = 0
        self._slot = slot


__all__ = ["REFUSED", "STATE_CLOSED", "STATE_HALF_OPEN", "STATE_OPEN", "Breaker"]
