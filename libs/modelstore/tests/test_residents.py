"""The budget against a model of it that keeps a plain list."""

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule

from trunkline_hop.errors import Overloaded
from trunkline_modelstore.residents import Pin, Residents

BUDGET = 100
LIMIT = 4
keys = st.integers(1, 8).map(lambda number: (f"models/m/versions/{number}", str(number)))
sizes = st.integers(0, 60)
pins = st.sampled_from(Pin)


class Versions(RuleBasedStateMachine):
    """`order` is the truth: [key, size, pin, leases], least recently used first; `gone` are retired and leased."""

    leases = Bundle("leases")
    limit: int | None = None

    @initialize()
    def start(self):
        self.residents = Residents(BUDGET, self.limit)
        self.order = []
        self.gone = []
        self.reserved = {}

    def used(self):
        return sum(entry[1] for entry in self.order + self.gone) + sum(self.reserved.values())

    def count(self):
        return len(self.order) + len(self.gone) + len(self.reserved)

    def fits(self, size, victims):
        few = self.limit is None or self.count() - len(victims) + 1 <= self.limit
        return few and self.used() - sum(victim[1] for victim in victims) + size <= BUDGET

    def expected_victims(self, size, pin):
        """Who must go for a newcomer, or None when it cannot fit."""
        victims = []
        for least in (Pin.NONE, Pin.CANDIDATE):
            if least is Pin.CANDIDATE and pin is not Pin.PRODUCTION:
                continue
            for entry in self.order:
                if self.fits(size, victims):
                    return victims
                if entry[2] is least and not entry[3]:
                    victims.append(entry)
        return victims if self.fits(size, victims) else None

    def check_evicted(self, evicted, victims):
        assert [resident.key for resident in evicted] == [entry[0] for entry in victims]
        assert all(not resident.leases for resident in evicted)
        self.order = [entry for entry in self.order if entry not in victims]

    @rule(key=keys, size=sizes, pin=pins)
    def reserve(self, key, size, pin):
        if key in self.reserved or any(entry[0] == key for entry in self.order):
            return
        victims = self.expected_victims(size, pin)
        if victims is None:
            with pytest.raises(Overloaded):
                self.residents.reserve(key, size, pin)
        else:
            self.check_evicted(self.residents.reserve(key, size, pin), victims)
            self.reserved[key] = size

    @rule(data=st.data())
    def cancel(self, data):
        if self.reserved:
            key = data.draw(st.sampled_from(sorted(self.reserved)))
            del self.reserved[key]
            self.residents.cancel(key)

    @rule(data=st.data(), size=sizes, pin=pins)
    def admit(self, data, size, pin):
        if not self.reserved:
            return
        key = data.draw(st.sampled_from(sorted(self.reserved)))
        del self.reserved[key]
        victims = self.expected_victims(size, pin)
        if victims is None:
            with pytest.raises(Overloaded):
                self.residents.admit(key, object(), size, pin)
        else:
            resident, evicted = self.residents.admit(key, object(), size, pin)
            self.check_evicted(evicted, victims)
            self.order.append([key, size, pin, 0])
            assert self.residents.find(key) is resident

    @rule(target=leases, key=keys)
    def lease(self, key):
        resident = self.residents.find(key)
        entry = next((entry for entry in self.order if entry[0] == key), None)
        assert (resident is None) == (entry is None)
        if entry is None:
            return None
        self.residents.lease(resident)
        entry[3] += 1
        self.order.remove(entry)
        self.order.append(entry)
        return resident, entry

    @rule(lease=consumes(leases))
    def release(self, lease):
        if lease is None:
            return
        resident, entry = lease
        entry[3] -= 1
        last = not entry[3] and any(entry is one for one in self.gone)
        assert self.residents.release(resident) == last
        if last:
            self.gone = [one for one in self.gone if one is not entry]

    @rule(key=keys, pin=pins)
    def pin(self, key, pin):
        self.residents.pin(key, pin)
        for entry in self.order:
            if entry[0] == key:
                entry[2] = pin

    @rule(key=keys)
    def retire(self, key):
        entry = next((entry for entry in self.order if entry[0] == key), None)
        if entry is None:
            return
        assert self.residents.retire(self.residents.find(key)) == (not entry[3])
        self.order.remove(entry)
        if entry[3]:
            self.gone.append(entry)

    @rule()
    def shed(self):
        victim = next((entry for entry in self.order if entry[2] is Pin.NONE and not entry[3]), None)
        shed = self.residents.shed()
        assert (shed.key if shed else None) == (victim[0] if victim else None)
        if victim:
            self.order.remove(victim)

    @invariant()
    def bytes_are_those_of_who_is_there_and_within_the_budget(self):
        if hasattr(self, "residents"):
            assert self.residents.used_bytes == self.used() <= BUDGET
            assert self.residents.count == self.count()
            assert self.limit is None or self.count() <= self.limit
            assert [resident.key for resident in self.residents] == [entry[0] for entry in self.order]


class FewVersions(Versions):
    """The same with a limit on how many there may be, beside what they take."""

    limit = LIMIT


TestVersions = Versions.TestCase
TestFewVersions = FewVersions.TestCase


def test_what_can_never_fit_is_told_apart_from_what_does_not_fit_now():
    residents = Residents(BUDGET)
    with pytest.raises(Overloaded, match="TOO_LARGE"):
        residents.reserve(("a", ""), BUDGET + 1, Pin.PRODUCTION)
    residents.reserve(("a", ""), BUDGET, Pin.NONE)
    with pytest.raises(Overloaded, match="SHED"):
        residents.reserve(("b", ""), 1, Pin.PRODUCTION)
