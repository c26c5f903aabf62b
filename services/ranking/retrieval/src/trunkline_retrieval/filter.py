"""Which vectors a search may return: a subset of AIP-160.

    restriction   genre = "crime"   year >= 1990   in_stock = true   tags:"gore"   genre:*
    operators     = !=              texts, numbers, booleans
                  < <= > >=         texts (by code point) and numbers
                  :                 a list of texts has the text; otherwise the same as =
                  :*                the attribute is there, of whatever type
    joined by     NOT or -, then OR, then AND: as in AIP-160, OR binds tighter than AND

A text is quoted, "so" or 'so', with a backslash before a quote or a backslash; a word needs no quotes. A vector
without the attribute, or with one of another type, satisfies no comparison with it, != included; NOT of the
comparison then holds.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final, TypeAlias, cast

from lark import Lark, Token, Transformer, v_args
from lark.exceptions import UnexpectedCharacters, UnexpectedEOF, UnexpectedInput, UnexpectedToken, VisitError

from trunkline_hop.errors import BadRequest
from trunkline_retrieval.changes import Attribute, Attributes

MAX_DEPTH: Final = 32
"""Deepest nesting of AND, OR and NOT within each other."""

Value: TypeAlias = str | float | bool

COMPARE: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@dataclass(frozen=True, slots=True)
class Comparison:
    """One attribute beside one value."""

    name: str
    operator: str
    """`=`, `!=`, `<`, `<=`, `>`, `>=` or `:`."""
    value: Value | None
    """None: that the attribute is there is enough."""


@dataclass(frozen=True, slots=True)
class And:
    """All of them."""

    conditions: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """Any of them."""

    conditions: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """Not this."""

    condition: Condition


Condition: TypeAlias = Comparison | And | Or | Not


@dataclass(frozen=True, slots=True)
class Filter:
    """A condition on attributes."""

    text: str
    """As it was written: equal texts are equal filters."""
    condition: Condition = field(compare=False)

    def matches(self, attributes: Attributes) -> bool:
        """Whether a vector with these attributes may be returned."""
        return _holds(self.condition, attributes)


def _holds(condition: Condition, attributes: Attributes) -> bool:
    match condition:
        case And(conditions):
            return all(_holds(each, attributes) for each in conditions)
        case Or(conditions):
            return any(_holds(each, attributes) for each in conditions)
        case Not(inner):
            return not _holds(inner, attributes)
    attribute = attributes.get(condition.name)
    return attribute is not None and _satisfies(attribute, condition.operator, condition.value)


def _satisfies(attribute: Attribute, comparison: str, value: Value | None) -> bool:
    if value is None:
        return True
    if isinstance(attribute, tuple):
        return comparison == ":" and value in attribute
    # By type and not isinstance: True is an int to Python, and is not the number 1 to a filter.
    if type(attribute) is not type(value):
        return False
    return bool(COMPARE["=" if comparison == ":" else comparison](attribute, value))


_GRAMMAR = r"""
?start: conjunction
conjunction: disjunction ("AND" disjunction)*
disjunction: term ("OR" term)*
?term: ("NOT" | "-") term -> negation
    | "(" conjunction ")"
    | NAME EQUALITY value -> comparison
    | NAME ORDER ordered  -> comparison
    | NAME HAS value      -> comparison
    | NAME HAS "*"        -> presence
?value: ordered
    | "true"  -> true
    | "false" -> false
?ordered: NUMBER -> number
    | QUOTED     -> quoted
    | WORD       -> word

EQUALITY: "=" | "!="
ORDER: "<=" | ">=" | "<" | ">"
HAS: ":"
NAME: /[a-z][a-z0-9_]*/
NUMBER.2: /[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?(?![\w.])/
QUOTED: /"(\\.|[^"\\])*"|'(\\.|[^'\\])*'/s
WORD: /(?!(AND|OR|NOT|true|false)(?!\w))[^\W\d][\w.]*(-[\w.]+)*/
%ignore /\s+/
"""

_EXPECTED: Final[Mapping[str, str]] = {
    "NAME": "an attribute's name",
    "EQUALITY": "= or !=",
    "ORDER": "<, <=, > or >=",
    "HAS": ":",
    "NUMBER": "a number",
    "QUOTED": "a text in quotes",
    "WORD": "a word",
    "TRUE": "true",
    "FALSE": "false",
    "AND": "AND",
    "OR": "OR",
    "NOT": "NOT",
    "MINUS": "-",
    "STAR": "*",
    "LPAR": "(",
    "RPAR": ")",
    "$END": "the end",
}
"""What a user calls the grammar's terminals."""


class _TooDeep(Exception):
    """More levels than MAX_DEPTH."""


Leveled: TypeAlias = tuple[Condition, int]
"""A condition and how deep it is."""


@v_args(inline=True)
class _Conditions(Transformer[Token, Leveled]):
    """What the parser calls, from the leaves up."""

    def conjunction(self, *parts: Leveled) -> Leveled:
        return parts[0] if len(parts) == 1 else (And(tuple(part for part, _ in parts)), _deepest(parts))

    def disjunction(self, *parts: Leveled) -> Leveled:
        return parts[0] if len(parts) == 1 else (Or(tuple(part for part, _ in parts)), _deepest(parts))

    def negation(self, part: Leveled) -> Leveled:
        condition, depth = part
        if isinstance(condition, Not):
            return condition.condition, depth
        return Not(condition), _deepest((part,))

    def comparison(self, name: Token, comparison: Token, value: Value) -> Leveled:
        return Comparison(str(name), str(comparison), value), 0

    def presence(self, name: Token, has: Token) -> Leveled:
        return Comparison(str(name), str(has), None), 0

    def number(self, token: Token) -> float:
        return float(token)

    def quoted(self, token: Token) -> str:
        return re.sub(r"\\(.)", r"\1", token[1:-1], flags=re.DOTALL)

    def word(self, token: Token) -> str:
        return str(token)

    def true(self) -> bool:
        return True

    def false(self) -> bool:
        return False


def _deepest(parts: tuple[Leveled, ...]) -> int:
    depth = 1 + max(depth for _, depth in parts)
    if depth > MAX_DEPTH:
        raise _TooDeep
    return depth


_PARSER: Final = Lark(_GRAMMAR, parser="lalr", transformer=_Conditions())


@lru_cache(maxsize=1024)
def parse(text: str) -> Filter | None:
    """The filter that a text says; None for an empty one.

    Raises:
        BadRequest: it is not of the language; names the position and what was expected there.
    """
    if not text.strip():
        return None
    try:
        # What the transformer made: the stubs know only of trees.
        condition, _ = cast("Leveled", _PARSER.parse(text))
    except UnexpectedInput as error:
        raise BadRequest.field("filter", _complaint(text, error)) from error
    except (VisitError, _TooDeep) as error:
        raise BadRequest.field("filter", f"at most {MAX_DEPTH} levels of AND, OR and NOT") from error
    return Filter(text, condition)


def _complaint(text: str, error: UnexpectedInput) -> str:
    if isinstance(error, UnexpectedCharacters):
        expected, at = set(error.allowed or ()), error.pos_in_stream
    elif isinstance(error, UnexpectedToken):
        expected = set(error.accepts or error.expected)
        at = len(text) if error.token.type == "$END" else error.pos_in_stream
    elif isinstance(error, UnexpectedEOF):
        expected, at = set(error.expected), len(text)
    names = [name for terminal, name in _EXPECTED.items() if terminal in expected]
    listed = names[-1] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"
    return f"{listed} expected at character {(at or 0) + 1}"
