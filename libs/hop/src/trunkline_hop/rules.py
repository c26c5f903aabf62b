"""Field rules of the contracts, compiled once into plain checks.

`compiled(descriptor)` walks a message type with everything below it and returns a function that lists what
is wrong with one message, or None when nothing below it has a rule. A rule that does not fit its field, or
that this compiler does not know, raises RuleError, so a contract cannot promise what is not checked.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet

from trunkline.options.v1 import options_pb2
from trunkline_hop.errors import BadRequest, FieldViolation

Violations = list[FieldViolation]
Check = Callable[[Any, str, Violations], None]
"""Appends to the list what is wrong with a message whose path (empty or ending in a dot) is given."""
ValueCheck = Callable[[Any], str | None]
"""Says what was expected, or None."""

_INTEGERS = frozenset(
    {
        FieldDescriptor.CPPTYPE_INT32,
        FieldDescriptor.CPPTYPE_INT64,
        FieldDescriptor.CPPTYPE_UINT32,
        FieldDescriptor.CPPTYPE_UINT64,
    }
)
_FLOATS = frozenset({FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE})
_MOST_VIOLATIONS = 16
_SEGMENT = r"[a-z0-9][a-z0-9_.-]{0,62}"


class RuleError(Exception):
    """A rule in a contract that cannot be checked. Found at start, never while serving."""


def validator(descriptor: Descriptor) -> Callable[[Message], None] | None:
    """A function that raises BadRequest for a message that breaks a rule, or None if there are no rules.

    Raises:
        RuleError: the contract has a rule that does not fit.
    """
    check = _message_check(descriptor, {})
    if check is None:
        return None

    def validate(message: Message) -> None:
        violations: Violations = []
        check(message, "", violations)
        if violations:
            first = violations[0]
            more = f" (and {len(violations) - 1} more)" if len(violations) > 1 else ""
            raise BadRequest(
                f"{first.field}: {first.description}{more}",
                violations[:_MOST_VIOLATIONS],
                metadata={"field": first.field},
            )

    return validate


def _message_check(descriptor: Descriptor, seen: dict[str, _Recursion]) -> Check | None:
    """All checks of one message type. A type inside itself is checked through the `_Recursion` in `seen`."""
    if descriptor.full_name in seen:
        return seen[descriptor.full_name]
    recursion = seen[descriptor.full_name] = _Recursion()
    checks = [check for field in descriptor.fields for check in _field_checks(field, seen)]
    for oneof in descriptor.oneofs:
        if oneof.GetOptions().Extensions[options_pb2.one_required]:
            members = " or ".join(field.name for field in oneof.fields)
            checks.append(_oneof_check(oneof.name, f"expected one of {members}"))
    if not checks:
        del seen[descriptor.full_name]
        return None

    def check_all(message: Any, path: str, violations: Violations) -> None:
        for check in checks:
            check(message, path, violations)

    recursion.target = check_all
    return check_all


class _Recursion:
    """Stands for the checks of a type that is still being compiled."""

    target: Check | None = None

    def __call__(self, message: Any, path: str, violations: Violations) -> None:
        if self.target is not None:
            self.target(message, path, violations)


def _oneof_check(name: str, expected: str) -> Check:
    def check(message: Any, path: str, violations: Violations) -> None:
        if message.WhichOneof(name) is None:
            violations.append(FieldViolation(path + name, expected))

    return check


def _field_checks(field: FieldDescriptor, seen: dict[str, _Recursion]) -> Iterable[Check]:
    rules = field.GetOptions().Extensions[options_pb2.rules]
    if len(UnknownFieldSet(rules)):
        raise RuleError(f"{field.full_name}: a rule that this version of trunkline-hop does not know")
    name = field.name
    has_presence = field.has_presence
    value_checks: list[ValueCheck] = []
    # Presence first: "must be set" is the clearer answer for a value that is missing altogether.
    if rules.required:
        yield _required(name, has_presence, field)
    for rule, argument in rules.ListFields():
        if rule.name == "required":
            continue
        if rule.name in ("min_items", "max_items"):
            if not field.is_repeated:
                raise RuleError(f"{field.full_name}: {rule.name} is for lists and maps")
            yield _size_check(name, rule.name, argument)
            continue
        if field.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE:
            raise RuleError(f"{field.full_name}: {rule.name} does not fit a message")
        value_checks.append(_value_check(field, rule.name, argument))
    if value_checks:
        yield from _apply(name, field, has_presence, value_checks)
    if field.message_type is None:
        return
    inner = field.message_type.fields_by_name["value"].message_type if _is_map(field) else field.message_type
    below = _message_check(inner, seen) if inner is not None else None
    if below is not None:
        yield _below_map(name, below) if _is_map(field) else _below(name, field.is_repeated, below)


def _is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and bool(field.message_type.GetOptions().map_entry)


def _required(name: str, has_presence: bool, field: FieldDescriptor) -> Check:
    if has_presence:

        def check_presence(message: Any, path: str, violations: Violations) -> None:
            if not message.HasField(name):
                violations.append(FieldViolation(path + name, "must be set"))

        return check_presence
    numeric = _FLOATS | _INTEGERS | {FieldDescriptor.CPPTYPE_BOOL}
    if field.cpp_type in numeric and not field.is_repeated:
        raise RuleError(f"{field.full_name}: required cannot tell zero or false from none; make it optional")

    def check_value(message: Any, path: str, violations: Violations) -> None:
        if not getattr(message, name):
            violations.append(FieldViolation(path + name, "must be set"))

    return check_value


def _size_check(name: str, rule: str, bound: int) -> Check:
    if rule == "min_items":

        def check_least(message: Any, path: str, violations: Violations) -> None:
            size = len(getattr(message, name))
            if size < bound:
                violations.append(FieldViolation(path + name, f"expected at least {bound} items, got {size}"))

        return check_least

    def check_most(message: Any, path: str, violations: Violations) -> None:
        size = len(getattr(message, name))
        if size > bound:
            violations.append(FieldViolation(path + name, f"expected at most {bound} items, got {size}"))

    return check_most


def _apply(
    name: str, field: FieldDescriptor, has_presence: bool, checks: list[ValueCheck]
) -> Iterable[Check]:
    optional = has_presence or field.containing_oneof is not None
    if field.is_repeated:
        if _is_map(field):
            raise RuleError(f"{field.full_name}: rules on values do not fit a map")

        def check_items(message: Any, path: str, violations: Violations) -> None:
            for value_check in checks:
                for index, value in enumerate(getattr(message, name)):
                    expected = value_check(value)
                    if expected is not None:
                        violations.append(FieldViolation(f"{path}{name}[{index}]", expected))
                        break

        if checks == [_finite]:
            # Long number lists are the hot path: one pass in C tells that all is well.
            def check_finite(message: Any, path: str, violations: Violations) -> None:
                if not all(map(math.isfinite, getattr(message, name))):
                    check_items(message, path, violations)

            yield check_finite
        else:
            yield check_items
        return

    def check_one(message: Any, path: str, violations: Violations) -> None:
        if optional and not message.HasField(name):
            return
        value = getattr(message, name)
        for value_check in checks:
            expected = value_check(value)
            if expected is not None:
                violations.append(FieldViolation(path + name, expected))
                return

    yield check_one


def _below(name: str, repeated: bool, check: Check) -> Check:
    if repeated:

        def check_each(message: Any, path: str, violations: Violations) -> None:
            for index, item in enumerate(getattr(message, name)):
                check(item, f"{path}{name}[{index}].", violations)

        return check_each

    def check_set(message: Any, path: str, violations: Violations) -> None:
        if message.HasField(name):
            check(getattr(message, name), f"{path}{name}.", violations)

    return check_set


def _below_map(name: str, check: Check) -> Check:
    def check_values(message: Any, path: str, violations: Violations) -> None:
        for key, value in getattr(message, name).items():
            check(value, f"{path}{name}[{key!r}].", violations)

    return check_values


def _value_check(field: FieldDescriptor, rule: str, argument: Any) -> ValueCheck:
    kind = field.cpp_type
    number = kind in _INTEGERS or kind in _FLOATS
    text = kind == FieldDescriptor.CPPTYPE_STRING  # strings and bytes
    fits = {
        "finite": kind in _FLOATS,
        "minimum": number,
        "maximum": number,
        "min_length": text,
        "max_length": text,
        "pattern": text and field.type == FieldDescriptor.TYPE_STRING,
        "resource": text and field.type == FieldDescriptor.TYPE_STRING,
        "defined_only": kind == FieldDescriptor.CPPTYPE_ENUM,
    }
    if rule not in fits:
        raise RuleError(f"{field.full_name}: no check is known for the rule {rule}")
    if not fits[rule]:
        raise RuleError(f"{field.full_name}: {rule} does not fit the field's type")
    unit = "bytes" if field.type == FieldDescriptor.TYPE_BYTES else "characters"
    match rule:
        case "finite":
            return _finite
        case "minimum":
            # Written so that NaN fails as well.
            return lambda value: (
                None if value >= argument else f"expected at least {argument:g}, got {value:g}"
            )
        case "maximum":
            return lambda value: (
                None if value <= argument else f"expected at most {argument:g}, got {value:g}"
            )
        case "min_length":
            return lambda value: (
                f"expected at least {argument} {unit}, got {len(value)}"
                if 0 < len(value) < argument
                else None
            )
        case "max_length":
            return lambda value: (
                f"expected at most {argument} {unit}, got {len(value)}" if len(value) > argument else None
            )
        case "pattern":
            return _matches(argument, f"expected text that matches {argument}")
        case "resource":
            regex = "|".join(re.sub(r"\\\{[a-z_]+\\\}", lambda _: _SEGMENT, re.escape(p)) for p in argument)
            return _matches(regex, f"expected a name like {' or '.join(argument)}")
        case _:
            values = field.enum_type.values if field.enum_type is not None else ()
            numbers = frozenset(value.number for value in values)
            names = ", ".join(value.name for value in values[1:])
            return lambda value: None if value in numbers else f"expected one of {names}, got number {value}"


def _finite(value: float) -> str | None:
    return None if math.isfinite(value) else f"expected a finite number, got {value}"


def _matches(regex: str, expected: str) -> ValueCheck:
    try:
        fullmatch = re.compile(regex).fullmatch
    except re.error as error:
        raise RuleError(f"pattern {regex}: {error}") from error
    return lambda value: None if not value or fullmatch(value) else expected
