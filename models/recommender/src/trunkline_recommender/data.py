"""Reads ratings that real readers gave: the layout of goodbooks-10k."""

import csv
import gzip
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from trunkline_recommender.books import Book
from trunkline_recommender.ratings import Ratings

RATING_COLUMNS = ("user_id", "book_id", "rating")
BOOK_COLUMNS = ("book_id", "authors", "original_publication_year", "title", "language_code")


def read(directory: Path, seed: int = 0) -> Ratings:
    """`ratings.csv.gz` (user_id, book_id, rating) and `books.csv` of a directory.

    Only books that somebody rated. There are no times: the order of a reader's ratings is drawn from the seed.

    Raises:
        FileNotFoundError: when a file is not there.
        ValueError: when a column is absent, a value is no number, or a rated book is not in `books.csv`.
    """
    with (directory / "books.csv").open(newline="", encoding="utf-8") as file:
        described = {row["book_id"]: _book(row) for row in _rows(file, "books.csv", BOOK_COLUMNS)}
    try:
        with gzip.open(directory / "ratings.csv.gz", "rt", newline="", encoding="utf-8") as file:
            listed = [
                tuple(row[name] for name in RATING_COLUMNS)
                for row in _rows(file, "ratings.csv.gz", RATING_COLUMNS)
            ]
    except (EOFError, zlib.error) as error:
        raise ValueError("ratings.csv.gz is damaged") from error
    if not listed:
        raise ValueError("ratings.csv.gz holds no ratings")
    users, ids, stars = zip(*listed, strict=True)
    known, book = np.unique(np.array(ids), return_inverse=True)
    absent = [name for name in known.tolist() if name not in described]
    if absent:
        raise ValueError(f"books.csv lacks book_id {absent[0]}")
    _, reader = np.unique(np.array(users), return_inverse=True)
    order = np.lexsort((np.random.default_rng(seed).random(len(reader)), reader))
    return Ratings(
        books=[described[name] for name in known.tolist()],
        reader=reader.astype(np.int64)[order],
        book=book.astype(np.int64)[order],
        stars=np.array(stars).astype(np.int64)[order],
        time_us=None,
    )


def _rows(file: Iterable[str], name: str, wanted: tuple[str, ...]) -> list[dict[str, str]]:
    reader = csv.DictReader(file)
    absent = [column for column in wanted if column not in (reader.fieldnames or ())]
    if absent:
        raise ValueError(f"{name} lacks {', '.join(absent)}")
    rows = list(reader)
    short = [number for number, row in enumerate(rows, 2) if any(row[column] is None for column in wanted)]
    if short:
        raise ValueError(f"{name} has too few columns in row {short[0]}")
    return rows


def _book(row: dict[str, str]) -> Book:
    year = row["original_publication_year"]
    return Book(
        id=row["book_id"],
        title=row["title"],
        author=row["authors"],
        year=int(float(year)) if year else 0,
        language=row["language_code"],
    )
