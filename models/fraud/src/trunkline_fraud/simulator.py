"""A seeded simulator of card transactions.

Customers and terminals lie on a plane. A customer has habits: how much it spends and how evenly, how
often, at which hours, how much more at weekends, how far it goes, which terminals it prefers; and the
habits drift. Fraud comes in three scenarios: single large amounts, terminals that are compromised for
some weeks, and cards that are compromised for some days during which the thief's purchases are a
multiple of the customer's.

The idea of such a simulation and its three scenarios are those of Le Borgne, Siblini, Lebichot and
Bontempi, "Reproducible Machine Learning for Credit Card Fraud Detection: Practical Handbook" (2022).
The distributions, the habits and the code here are our own; so are the figures.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt

from trunkline_fraud.transactions import DAY_US, HOUR_US, Transactions

PLANE = 100.0
USUAL_TERMINALS = 20
MONDAY = datetime(2025, 1, 6, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class FraudRates:
    """How often the three scenarios strike."""

    large_amounts: float = 0.002
    """Share of transactions that are a thief's single large purchase."""
    terminals_per_1000_a_day: float = 0.25
    """Terminals that become compromised."""
    cards_per_1000_a_day: float = 0.65
    """Cards that become compromised."""

    def times(self, factor: float) -> "FraudRates":
        """The same mix, `factor` times as often."""
        return FraudRates(
            self.large_amounts * factor,
            self.terminals_per_1000_a_day * factor,
            self.cards_per_1000_a_day * factor,
        )


@dataclass(frozen=True, slots=True)
class Population:
    """Who pays where, and for how long."""

    customers: int = 1000
    terminals: int = 2000
    days: int = 150
    start: datetime = MONDAY
    """Midnight UTC of the first day."""
    fraud: FraudRates = FraudRates()


@dataclass(frozen=True, slots=True)
class _Habits:
    """What each of C customers tends to do."""

    mean: npt.NDArray[np.float64]
    """Currency units a purchase, on the first day."""
    variation: npt.NDArray[np.float64]
    """Standard deviation over mean."""
    drift: npt.NDArray[np.float64]
    """Growth of the mean: exponent a day."""
    rate: npt.NDArray[np.float64]
    """Purchases a working day."""
    weekend: npt.NDArray[np.float64]
    """Weekend rate over working-day rate."""
    peak_hour: npt.NDArray[np.float64]
    spread_hours: npt.NDArray[np.float64]
    usual: npt.NDArray[np.int64]
    """[C, USUAL_TERMINALS] terminals."""
    preference: npt.NDArray[np.float64]
    """[C, USUAL_TERMINALS] cumulative probability of going there."""


def simulate(population: Population | None = None, seed: int = 0) -> Transactions:
    """The transactions of a population, the same for the same arguments.

    Times are strictly increasing. Genuine behaviour and each fraud scenario draw from streams of their
    own, so that other fraud rates leave the customers, and what they do unharmed, as they are.

    Raises:
        ValueError: for fewer than one customer, terminal or day.
    """
    population = population or Population()
    if min(population.customers, population.terminals, population.days) < 1:
        raise ValueError("a population needs at least one customer, one terminal and one day")
    people, purchases, large, terminals, cards = (
        np.random.default_rng(stream) for stream in np.random.SeedSequence(seed).spawn(5)
    )
    habits = _draw_habits(population, people)
    customer, day, hour, terminal, amount = _purchase(population, habits, purchases)
    scenario = np.zeros(len(customer), np.int8)

    strikes = large.random(len(customer)) < population.fraud.large_amounts
    amount = np.where(strikes, large.uniform(350.0, 900.0, len(customer)), amount)
    scenario[strikes] = 1

    compromised = _compromised(
        population.terminals, population.days, population.fraud.terminals_per_1000_a_day, (14, 42), terminals
    )
    strikes = compromised[terminal, day] & (terminals.random(len(customer)) < 0.95)
    scenario[strikes] = 2

    compromised = _compromised(
        population.customers, population.days, population.fraud.cards_per_1000_a_day, (7, 21), cards
    )
    strikes = compromised[customer, day] & (cards.random(len(customer)) < 1 / 3)
    amount = np.where(strikes, amount * cards.uniform(3.0, 7.0, len(customer)), amount)
    # A thief does not keep the customer's hours.
    hour = np.where(strikes, cards.uniform(0.0, 24.0, len(customer)), hour)
    scenario[strikes] = 3

    start_us = int(population.start.timestamp()) * 1_000_000
    time_us = start_us + day * DAY_US + (hour * HOUR_US).astype(np.int64)
    order = np.argsort(time_us, kind="stable")
    place = np.arange(len(order))
    return Transactions(
        # Ties move on by a microsecond, so that "before" always has one answer.
        time_us=np.maximum.accumulate(time_us[order] - place) + place,
        customer=customer[order],
        terminal=terminal[order],
        cents=np.maximum(np.rint(amount[order] * 100), 1).astype(np.int64),
        fraud=scenario[order] > 0,
        scenario=scenario[order],
    )


def _draw_habits(population: Population, random: np.random.Generator) -> _Habits:
    count = population.customers
    homes = random.uniform(0, PLANE, (count, 2))
    places = random.uniform(0, PLANE, (population.terminals, 2))
    radius = random.uniform(4.0, 10.0, count)
    width = min(USUAL_TERMINALS, population.terminals)
    usual = np.empty((count, width), np.int64)
    weights = np.empty((count, width))
    for index in range(count):
        distance = np.hypot(*(places - homes[index]).T)
        nearest = np.argpartition(distance, width - 1)[:width]
        usual[index] = nearest
        # Near ones more often; beyond the radius hardly ever, but never nowhere.
        weights[index] = np.exp(-np.square(distance[nearest] / radius[index])) + 1e-9
    weights *= random.exponential(1.0, weights.shape)
    preference = np.cumsum(weights, axis=1)
    return _Habits(
        mean=np.clip(random.lognormal(np.log(40.0), 0.5, count), 8.0, 120.0),
        variation=random.uniform(0.3, 0.6, count),
        drift=random.normal(0.0, 0.3, count) / 180.0,
        rate=np.clip(random.gamma(2.5, 0.65, count), 0.15, 6.0),
        weekend=np.clip(random.lognormal(0.0, 0.4, count), 0.3, 3.0),
        peak_hour=random.normal(14.0, 2.5, count),
        spread_hours=random.uniform(1.5, 4.0, count),
        usual=usual,
        preference=preference / preference[:, -1:],
    )


def _purchase(
    population: Population, habits: _Habits, random: np.random.Generator
) -> tuple[
    npt.NDArray[np.int64],
    npt.NDArray[np.int64],
    npt.NDArray[np.float64],
    npt.NDArray[np.int64],
    npt.NDArray[np.float64],
]:
    """Customer, day, hour, terminal and amount of every genuine purchase."""
    weekday = (population.start.weekday() + np.arange(population.days)) % 7
    rates = habits.rate[:, None] * np.where(weekday >= 5, habits.weekend[:, None], 1.0)
    counts = random.poisson(rates).ravel()
    cell = np.repeat(np.arange(len(counts)), counts)
    customer, day = np.divmod(cell, population.days)
    total = len(customer)
    hour = np.mod(random.normal(habits.peak_hour[customer], habits.spread_hours[customer]), 24.0)
    choice = (habits.preference[customer] < random.random(total)[:, None]).sum(axis=1)
    away = random.random(total) < 0.03
    terminal = np.where(away, random.integers(0, population.terminals, total), habits.usual[customer, choice])
    shape = 1.0 / np.square(habits.variation[customer])
    mean = habits.mean[customer] * np.exp(habits.drift[customer] * day)
    amount = random.gamma(shape) * mean / shape
    # Now and then somebody buys a washing machine.
    rare = random.random(total) < 0.002
    amount = np.where(rare, amount * random.uniform(2.0, 4.0, total), amount)
    return customer, day, np.minimum(hour, np.nextafter(24.0, 0.0)), terminal, amount


def _compromised(
    entities: int, days: int, per_1000_a_day: float, length: tuple[int, int], random: np.random.Generator
) -> npt.NDArray[np.bool_]:
    """[entities, days]: whether an entity is compromised on a day. `length` in days, both included."""
    state = np.zeros((entities, days), np.bool_)
    # Compromises that began before the first day are under way on it.
    for day in range(-length[1], days):
        for entity in random.integers(0, entities, random.poisson(per_1000_a_day * entities / 1000.0)):
            last = day + int(random.integers(length[0], length[1], endpoint=True))
            state[entity, max(day, 0) : max(last, 0)] = True
    return state
