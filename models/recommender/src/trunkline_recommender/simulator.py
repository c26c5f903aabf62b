"""A seeded simulator of readers, a catalogue, and what the readers think of what they read.

Books and readers lie in one space of latent taste. Genres, authors and tags have places in it, and a book
lies near those of its own; a reader near a few genres, and moves towards another one as time goes by.
Which book a reader takes up next depends on taste and on exposure: books are as visible as they are
popular, popularity is skewed, comes and goes, and is higher soon after publication. Readers read the
languages they know, no book twice, and nothing before it is out. Stars depend on taste, on how good the
book is, on how generous the reader is, and on chance.

The last books of the catalogue are new: they come out near the end, and no recipe here trains on them.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt

from trunkline_recommender.books import Book
from trunkline_recommender.ratings import DAY_US, Ratings
from trunkline_recommender.titles import GENRES, LANGUAGES, TAGS, authors, titles

TASTES = 16
PERIODS = 12
"""Taste, popularity and the shelves change in so many steps."""
NEW_PERIODS = 2
"""New books come out at the beginning of so many last periods."""
START = datetime(2024, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Population:
    """Who reads what, and for how long."""

    readers: int = 3000
    books: int = 1500
    new_books: int = 60
    days: int = 720
    ratings_a_reader: float = 70.0
    """In the mean; some readers rate ten times as many as others."""
    start: datetime = START
    """Midnight UTC of the first day."""


@dataclass(frozen=True, slots=True, eq=False)
class World:
    """What happened, and who it happened to."""

    ratings: Ratings
    """All of them, those of the new books too."""
    new: npt.NDArray[np.bool_]
    """[I] the books that come out near the end."""
    places: npt.NDArray[np.float64]
    """[I, TASTES] where the books lie: hidden truth, for tests."""
    tastes: npt.NDArray[np.float64]
    """[2, readers, TASTES] where the readers lie on the first and the last day: hidden truth, for tests."""


@dataclass(frozen=True, slots=True, eq=False)
class _Catalogue:
    books: list[Book]
    places: npt.NDArray[np.float64]
    quality: npt.NDArray[np.float64]
    visibility: npt.NDArray[np.float64]
    """[I, PERIODS] log of how often a book comes before a reader's eyes; -inf before it is out."""
    language: npt.NDArray[np.int64]
    genres: npt.NDArray[np.float64]
    """[GENRES, TASTES]."""


def simulate(population: Population | None = None, seed: int = 0) -> World:
    """What the readers of a population did, the same for the same arguments.

    Raises:
        ValueError: for fewer than one reader, fewer than 20 books or days, or more books than have titles.
    """
    population = population or Population()
    if population.readers < 1 or population.books < 20 or population.new_books < 0 or population.days < 20:
        raise ValueError("a population needs a reader, 20 books and 20 days at least")
    shelf, people, choices = (
        np.random.default_rng(stream) for stream in np.random.SeedSequence(seed).spawn(3)
    )
    catalogue = _draw_catalogue(population, shelf)
    total = len(catalogue.books)
    count = population.readers

    # A reader likes one to three genres, and one of them more and more or less and less.
    shares = people.dirichlet(np.full(len(GENRES), 0.25), (2, count))
    own = people.normal(0.0, 0.45, (count, TASTES))
    early = shares[0] @ catalogue.genres * 1.6 + own
    late = (0.65 * shares[0] + 0.35 * shares[1]) @ catalogue.genres * 1.6 + own
    generosity = people.normal(0.0, 0.35, count)
    herd = np.clip(people.normal(0.75, 0.25, count), 0.1, 1.5)
    focus = people.uniform(0.8, 1.8, count)
    rate = np.clip(people.lognormal(np.log(population.ratings_a_reader) - 0.25, 0.7, count), 5.0, 400.0)
    reads = np.zeros((count, len(LANGUAGES)), np.bool_)
    reads[np.arange(count), people.choice(len(LANGUAGES), count, p=(0.7, 0.12, 0.1, 0.08))] = True
    reads[:, 0] |= people.random(count) < 0.7
    joins = np.minimum(people.integers(-PERIODS, PERIODS - 2, count), PERIODS - 3).clip(0)

    spread = float(np.std(early @ catalogue.places.T))
    unread = np.ones((count, total), np.bool_)
    columns: list[tuple[npt.NDArray[np.int64], ...]] = []
    day_us = population.days * DAY_US / PERIODS
    start_us = int(population.start.timestamp()) * 1_000_000
    for period in range(PERIODS):
        weight = period / (PERIODS - 1)
        taste = (1 - weight) * early + weight * late
        affinity = taste @ catalogue.places.T / spread
        appeal = focus[:, None] * affinity + herd[:, None] * catalogue.visibility[:, period]
        appeal += choices.gumbel(size=(count, total))
        appeal[~unread | ~reads[:, catalogue.language]] = -np.inf
        # The Gumbel trick: the largest of these sums are a draw without replacement, by appeal.
        wanted = np.where(joins <= period, choices.poisson(rate / (PERIODS - joins)), 0)
        order = np.argsort(-appeal, axis=1)[:, : int(wanted.max(initial=1))]
        taken = np.arange(order.shape[1]) < wanted[:, None]
        taken &= np.isfinite(np.take_along_axis(appeal, order, axis=1))
        reader, place = np.nonzero(taken)
        book = order[reader, place]
        unread[reader, book] = False
        pleasure = 3.25 + generosity[reader] + 0.4 * affinity[reader, book] + catalogue.quality[book]
        stars = np.clip(np.rint(pleasure + choices.normal(0.0, 0.7, len(reader))), 1, 5).astype(np.int64)
        time_us = start_us + ((period + choices.random(len(reader))) * day_us).astype(np.int64)
        columns.append((reader, book, stars, time_us))
    reader, book, stars, time_us = (np.concatenate(column) for column in zip(*columns, strict=True))
    order = np.lexsort((book, time_us, reader))
    return World(
        ratings=Ratings(catalogue.books, reader[order], book[order], stars[order], time_us[order]),
        new=np.arange(total) >= population.books,
        places=catalogue.places,
        tastes=np.stack([early, late]),
    )


def _draw_catalogue(population: Population, random: np.random.Generator) -> _Catalogue:
    total = population.books + population.new_books
    new = np.arange(total) >= population.books
    genres = random.normal(0.0, 1.0, (len(GENRES), TASTES))
    tags = {
        tag: random.normal(0.0, 0.5, TASTES) for tag in sorted({tag for own in TAGS.values() for tag in own})
    }

    writers = max(population.books // 4, 5)
    names = authors(writers, random)
    home = random.choice(len(GENRES), writers, p=_skewed(len(GENRES), 0.5))
    tongue = random.choice(len(LANGUAGES), writers, p=(0.7, 0.12, 0.1, 0.08))
    style = random.normal(0.0, 0.5, (writers, TASTES))
    fame = random.normal(0.0, 0.8, writers)

    writer = random.choice(writers, total, p=_skewed(writers, 0.6))
    elsewhere = random.random(total) < 0.12
    genre = np.where(elsewhere, random.integers(0, len(GENRES), total), home[writer])
    labels = [
        tuple(random.permutation(TAGS[GENRES[kind]])[: int(random.integers(1, 4))].tolist()) for kind in genre
    ]
    places = genres[genre] + style[writer] + random.normal(0.0, 0.45, (total, TASTES))
    places += np.array([sum((tags[tag] for tag in own), np.zeros(TASTES)) for own in labels])

    periods = np.arange(PERIODS)
    # Some books come out while the readers are watched, the new ones near the end.
    released = np.where(random.random(total) < 0.2, random.integers(1, PERIODS - NEW_PERIODS, total), 0)
    released[new] = random.integers(PERIODS - NEW_PERIODS, PERIODS, int(new.sum()))
    year = population.start.year - 1 - random.gamma(1.3, 12.0, total).astype(np.int64)
    length = timedelta(days=population.days / PERIODS)
    year = np.where(
        released > 0, [(population.start + length * int(period)).year for period in released], year
    )
    popularity = random.normal(0.0, 1.1, total) + fame[writer]
    # Fashions come and go: a random walk.
    fashion = np.cumsum(random.normal(0.0, 0.22, (total, PERIODS)), axis=1)
    age = periods - released[:, None]
    novelty = np.where(released[:, None] > 0, 1.4 * np.exp(-np.maximum(age, 0) / 2.0), 0.0)
    visibility = np.where(age >= 0, popularity[:, None] + fashion + novelty, -np.inf)
    books = [
        Book(
            id=f"b{place:05d}",
            title=title,
            author=names[writer[place]],
            genre=GENRES[genre[place]],
            year=int(year[place]),
            language=LANGUAGES[tongue[writer[place]]],
            tags=labels[place],
        )
        for place, title in enumerate(titles(total, random))
    ]
    return _Catalogue(
        books=books,
        places=places,
        quality=random.normal(0.0, 0.35, total) + 0.1 * popularity,
        visibility=visibility,
        language=tongue[writer],
        genres=genres,
    )


def _skewed(count: int, exponent: float) -> npt.NDArray[np.float64]:
    weights = (1.0 + np.arange(count)) ** -exponent
    share: npt.NDArray[np.float64] = weights / weights.sum()
    return share
