"""Content features: what the item tower sees of a book, computed from its metadata alone.

Authors, the series in a title, genre, tags, language and publication period are words of one vocabulary
without a list: each is hashed to a column and a sign (Weinberger et al., "Feature Hashing for Large Scale
Multitask Learning", 2009), so a book of an author whom training never saw has features too.
"""

import re
import zlib
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from trunkline_recommender.books import Book

WIDTH = 512
"""C, the number of content features."""
PERIOD_YEARS = 10
_SERIES = re.compile(r"\(([^()#]+?),? #")


def content(books: Sequence[Book]) -> npt.NDArray[np.float32]:
    """[N, WIDTH] features, the input `content` of item_tower.onnx; each row has the length 1 or is zero."""
    rows = np.zeros((len(books), WIDTH), np.float32)
    for row, book in zip(rows, books, strict=True):
        for word in words(book):
            code = zlib.crc32(word.encode())
            row[code % WIDTH] += 1.0 if code >> 31 else -1.0
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    filled: npt.NDArray[np.float32] = rows / np.maximum(length, 1e-9)
    return filled


def words(book: Book) -> Iterator[str]:
    """What is known of a book, one word each: `author:...`, `series:...`, `genre:...` and so on."""
    for author in filter(None, book.author.split(", ")):
        yield f"author:{author}"
    series = _SERIES.search(book.title)
    if series:
        yield f"series:{series.group(1)}"
    if book.genre:
        yield f"genre:{book.genre}"
    if book.language:
        yield f"language:{book.language}"
    if book.year:
        yield f"period:{book.year // PERIOD_YEARS}"
    for tag in book.tags:
        yield f"tag:{tag}"
