"""Attributes of many vectors, by column: what filters are evaluated on, and what answers take out."""

from __future__ import annotations

import json
import operator
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from trunkline_retrieval.changes import Attribute, Attributes
from trunkline_retrieval.filter import COMPARE, And, Comparison, Condition, Filter, Not, Or, Value
from trunkline_retrieval.texts import Texts, chunks

Array: TypeAlias = NDArray[Any]


class Kind(StrEnum):
    """What a column holds. An attribute whose type differs from vector to vector has a column of each."""

    TEXT = "text"
    NUMBER = "number"
    BOOLEAN = "boolean"
    TEXTS = "texts"


@dataclass(frozen=True, slots=True)
class Column:
    """One attribute of the rows that have it: a rare one costs little, whatever the number of rows."""

    name: str
    kind: Kind
    rows: NDArray[np.int64]
    """The rows that have it, ascending."""
    values: Array
    """A float64 or bool each; of texts, their places in `words`."""
    offsets: NDArray[np.int64]
    """Of TEXTS: those of `rows[i]` are `values[offsets[i]:offsets[i + 1]]`. Else empty: one value a row."""
    words: Texts
    """The distinct texts; empty for numbers and booleans."""

    def satisfying(self, comparison: str, value: Value | None) -> NDArray[np.int64]:
        """The rows for which a comparison holds."""
        if value is None:
            return self.rows
        if self.kind is Kind.TEXTS:
            if comparison != ":" or not isinstance(value, str):
                return self.rows[:0]
            values: NDArray[np.bool_] = self.values == self.words.find([value])[0]
            return np.repeat(self.rows, np.diff(self.offsets))[values]
        if self.kind is not _KINDS[type(value)]:
            return self.rows[:0]
        satisfies = COMPARE["=" if comparison == ":" else comparison]
        hits: NDArray[np.bool_]
        if not isinstance(value, str):
            hits = satisfies(self.values, value)
        elif satisfies in (operator.eq, operator.ne):
            hits = satisfies(self.values, self.words.find([value])[0])
        else:
            hits = np.array([satisfies(word, value) for word in self.words.all()])[self.values]
        return self.rows[hits]

    def taken(self, places: NDArray[np.int64]) -> Column:
        """The column after its rows moved to `places[row]`; those at -1 are gone."""
        moved = places[self.rows]
        kept = np.flatnonzero(moved >= 0)
        kept = kept[np.argsort(moved[kept], kind="stable")]
        if self.kind is not Kind.TEXTS:
            return replace(self, rows=moved[kept], values=self.values[kept])
        places, offsets = _spans(self.offsets, kept)
        return replace(self, rows=moved[kept], values=self.values[places], offsets=offsets)

    def read(self, rows: NDArray[np.int64]) -> Iterable[tuple[int, Attribute]]:
        """The attribute of those of the rows that have it, by their place among the rows."""
        at = np.searchsorted(self.rows, rows)
        at[at == len(self.rows)] = 0
        found = np.flatnonzero(self.rows[at] == rows)
        at = at[found]
        if self.kind is Kind.TEXTS:
            places, offsets = _spans(self.offsets, at)
            words, ends = self.words.take(self.values[places]), offsets.tolist()
            lists = (tuple(words[start:end]) for start, end in pairwise(ends))
            return zip(found.tolist(), lists, strict=True)
        values = self.values[at]
        return zip(
            found.tolist(),
            self.words.take(values) if self.kind is Kind.TEXT else values.tolist(),
            strict=True,
        )


_KINDS: Mapping[type, Kind] = {
    str: Kind.TEXT,
    float: Kind.NUMBER,
    bool: Kind.BOOLEAN,
    tuple: Kind.TEXTS,
}
_DTYPES: Mapping[Kind, type[np.generic]] = {
    Kind.TEXT: np.int32,
    Kind.NUMBER: np.float64,
    Kind.BOOLEAN: np.bool_,
    Kind.TEXTS: np.int32,
}
_NO_OFFSETS = np.empty(0, np.int64)
_NO_WORDS = Texts.of([])


@dataclass(frozen=True, slots=True)
class Columns:
    """The attributes of the rows 0 to size - 1."""

    size: int
    columns: tuple[Column, ...] = ()

    @classmethod
    def of(cls, attributes: Sequence[Attributes]) -> Columns:
        """The columns of attributes given by row."""
        gathered: dict[tuple[str, Kind], tuple[list[int], list[Attribute]]] = {}
        for row, each in enumerate(attributes):
            for name, value in each.items():
                rows, values = gathered.setdefault((name, _KINDS[type(value)]), ([], []))
                rows.append(row)
                values.append(value)
        return cls(len(attributes), tuple(_column(*key, *gathered[key]) for key in sorted(gathered)))

    def mask(self, where: Filter) -> NDArray[np.bool_]:
        """Whether each row satisfies a filter: what `Filter.matches` says of its attributes."""
        return self._mask(where.condition)

    def _mask(self, condition: Condition) -> NDArray[np.bool_]:
        mask: NDArray[np.bool_]
        match condition:
            case And(conditions):
                mask = np.logical_and.reduce([self._mask(each) for each in conditions])
            case Or(conditions):
                mask = np.logical_or.reduce([self._mask(each) for each in conditions])
            case Not(inner):
                mask = ~self._mask(inner)
            case Comparison(name, comparison, value):
                mask = np.zeros(self.size, np.bool_)
                for column in self.columns:
                    if column.name == name:
                        mask[column.satisfying(comparison, value)] = True
        return mask

    def read(self, rows: NDArray[np.int64]) -> list[Attributes]:
        """The attributes of some rows, in that order."""
        attributes: list[dict[str, Attribute]] = [{} for _ in range(len(rows))]
        for column in self.columns:
            for at, value in column.read(rows):
                attributes[at][column.name] = value
        return list[Attributes](attributes)

    def take(self, rows: NDArray[np.int64]) -> Columns:
        """Some rows, each at most once, in that order."""
        places = np.full(self.size, -1, np.int64)
        places[rows] = np.arange(len(rows))
        taken = (column.taken(places) for column in self.columns)
        return Columns(len(rows), tuple(_compact(column) for column in taken if column.rows.size))

    def followed_by(self, other: Columns) -> Columns:
        """These rows, and the others after them."""
        mine = {(column.name, column.kind): column for column in self.columns}
        theirs = {
            (column.name, column.kind): replace(column, rows=column.rows + self.size)
            for column in other.columns
        }
        both = mine | theirs | {key: _joined(mine[key], theirs[key]) for key in mine.keys() & theirs.keys()}
        return Columns(self.size + other.size, tuple(both[key] for key in sorted(both)))

    def to_arrays(self) -> dict[str, Array]:
        """What `from_arrays` takes: arrays of numbers, and one of JSON that says what they are."""
        arrays: dict[str, Array] = {}
        for number, column in enumerate(self.columns):
            parts = {"rows": column.rows, "values": column.values, "offsets": column.offsets}
            words = {f"words.{part}": array for part, array in column.words.to_arrays().items()}
            arrays |= {f"{number}.{part}": array for part, array in (parts | words).items()}
        described = {"size": self.size, "columns": [[each.name, each.kind] for each in self.columns]}
        arrays["columns"] = np.frombuffer(json.dumps(described).encode(), np.uint8)
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array]) -> Columns:
        """The columns that `to_arrays` took apart. Raises KeyError, ValueError when it did not."""
        described = json.loads(arrays["columns"].tobytes())
        return cls(
            described["size"],
            tuple(
                Column(
                    name=name,
                    kind=Kind(kind),
                    rows=arrays[f"{number}.rows"].astype(np.int64, copy=False),
                    values=arrays[f"{number}.values"].astype(_DTYPES[Kind(kind)], copy=False),
                    offsets=arrays[f"{number}.offsets"].astype(np.int64, copy=False),
                    words=Texts.from_arrays({part: arrays[f"{number}.words.{part}"] for part in Texts.PARTS}),
                )
                for number, (name, kind) in enumerate(described["columns"])
            ),
        )


def _column(name: str, kind: Kind, rows: list[int], values: list[Attribute]) -> Column:
    where = np.array(rows, np.int64)
    if kind in (Kind.NUMBER, Kind.BOOLEAN):
        return Column(name, kind, where, np.array(values, _DTYPES[kind]), _NO_OFFSETS, _NO_WORDS)
    offsets = _NO_OFFSETS
    texts = [str(value) for value in values]
    if kind is Kind.TEXTS:
        lists = [value for value in values if isinstance(value, tuple)]
        offsets = np.cumsum([0, *map(len, lists)])
        texts = [text for each in lists for text in each]
    words = Texts.of(list(dict.fromkeys(texts)))
    return Column(name, kind, where, words.find(texts).astype(np.int32), offsets, words)


def _joined(first: Column, second: Column) -> Column:
    merged = dict.fromkeys(first.words.all())
    for chunk in chunks(second.words.all()):
        merged |= dict.fromkeys(chunk)
    words = first.words if len(merged) == len(first.words) else Texts.of(list(merged))
    return Column(
        first.name,
        first.kind,
        np.concatenate((first.rows, second.rows)),
        np.concatenate((_recoded(first, words), _recoded(second, words))),
        np.concatenate((first.offsets, second.offsets[1:] + first.offsets[-1:])),
        words,
    )


def _recoded(column: Column, words: Texts) -> Array:
    """Its values as places in other words."""
    if words is column.words or column.kind in (Kind.NUMBER, Kind.BOOLEAN):
        return column.values
    return words.find(column.words.all()).astype(np.int32)[column.values]


def _compact(column: Column) -> Column:
    """Without the words that no row has any more."""
    used = np.unique(column.values) if len(column.words) else _NO_OFFSETS
    if len(used) == len(column.words):
        return column
    places = np.zeros(len(column.words), np.int32)
    places[used] = np.arange(len(used))
    words = Texts.of(column.words.take(used))
    return replace(column, values=places[column.values], words=words)


def _spans(offsets: NDArray[np.int64], at: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where the values of some lists lie, one list after the other, and the offsets of the lists in that."""
    starts = offsets[at]
    moved = np.zeros(len(at) + 1, np.int64)
    np.cumsum(offsets[at + 1] - starts, out=moved[1:])
    return np.arange(moved[-1]) + np.repeat(starts - moved[:-1], np.diff(moved)), moved
