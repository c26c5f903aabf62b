"""In which order endpoints are offered."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from trunkline_hop.client_settings import Balancing
from trunkline_hop.picker import ConsistentHash, LeastLoaded, RoundRobin, picker_of


@dataclass(eq=False)
class Place:
    address: str
    in_flight: int = 0


def places(count: int) -> list[Place]:
    return [Place(f"10.0.0.{n}:1") for n in range(count)]


@given(st.sampled_from(Balancing), st.integers(0, 9), st.text(max_size=5), st.integers(0, 99))
def test_every_endpoint_is_offered_once(balancing: Balancing, count: int, key: str, seed: int) -> None:
    endpoints = places(count)
    order = picker_of(balancing, Random(seed)).order(endpoints, key)
    assert Counter(map(id, order)) == Counter(map(id, endpoints))


def test_round_robin_spreads_evenly() -> None:
    endpoints, picker = places(3), RoundRobin()
    firsts = Counter(picker.order(endpoints, "")[0].address for _ in range(300))
    assert set(firsts.values()) == {100}


def test_round_robin_goes_on_when_endpoints_vanish() -> None:
    endpoints, picker = places(5), RoundRobin(start=4)
    picker.order(endpoints, "")
    assert picker.order(endpoints[:2], "")[0] in endpoints[:2]


def test_the_most_loaded_endpoint_never_comes_first() -> None:
    endpoints, picker = places(4), LeastLoaded(Random(1))
    endpoints[2].in_flight = 9
    assert all(picker.order(endpoints, "")[0] is not endpoints[2] for _ in range(500))


@given(st.text(min_size=1), st.integers(1, 8), st.integers(0, 7))
def test_only_sessions_of_a_lost_endpoint_move(key: str, count: int, lost: int) -> None:
    endpoints, picker = places(count + 1), ConsistentHash(Random(1))
    home = picker.order(endpoints, key)[0]
    rest = [e for n, e in enumerate(endpoints) if n != lost % (count + 1)]
    moved = picker.order(rest, key)[0]
    assert moved is home or home not in rest


def test_sessions_spread_over_the_endpoints() -> None:
    endpoints, picker = places(4), ConsistentHash(Random(1))
    homes = Counter(picker.order(endpoints, f"session-{n}")[0].address for n in range(4000))
    assert min(homes.values()) > 800


def test_calls_without_a_session_go_in_turn() -> None:
    endpoints, picker = places(3), ConsistentHash(Random(1))
    firsts = Counter(picker.order(endpoints, "")[0].address for _ in range(30))
    assert set(firsts.values()) == {10}
