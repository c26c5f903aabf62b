"""Field rules: what each one refuses, where it says so, and what it refuses to promise."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
from google.protobuf import descriptor_pb2 as d
from google.protobuf.descriptor_pool import Default
from google.protobuf.message_factory import GetMessageClass

from trunkline.features.v1 import features_pb2
from trunkline.options.v1 import options_pb2
from trunkline.ranking.v1 import ranking_pb2
from trunkline.registry.v1 import registry_pb2
from trunkline_hop.errors import BadRequest
from trunkline_hop.rules import RuleError, validator

_F = d.FieldDescriptorProto
_TYPES = {
    "string": _F.TYPE_STRING,
    "bytes": _F.TYPE_BYTES,
    "double": _F.TYPE_DOUBLE,
    "int64": _F.TYPE_INT64,
    "bool": _F.TYPE_BOOL,
    "Kind": _F.TYPE_ENUM,
    "Inner": _F.TYPE_MESSAGE,
}
_names = itertools.count()


def message(
    type_name: str, *, repeated: bool = False, optional: bool = False, raw: bytes = b"", **rules: Any
) -> Any:
    """A message type with one field `f` of a type under some rules."""
    package = f"hop_tests.rules{next(_names)}"
    file = d.FileDescriptorProto(
        name=f"{package}.proto",
        package=package,
        syntax="proto3",
        dependency=["trunkline/options/v1/options.proto"],
    )
    kind = file.enum_type.add(name="Kind")
    kind.value.add(name="KIND_UNSPECIFIED", number=0)
    kind.value.add(name="KIND_GOOD", number=1)
    inner = file.message_type.add(name="Inner")
    text = inner.field.add(name="name", number=1, type=_F.TYPE_STRING, label=_F.LABEL_OPTIONAL)
    text.options.Extensions[options_pb2.rules].required = True
    deeper = inner.field.add(name="deeper", number=2, type=_F.TYPE_MESSAGE, label=_F.LABEL_REPEATED)
    deeper.type_name = f".{package}.Inner"
    outer = file.message_type.add(name="Outer")
    entry = outer.nested_type.add(name="ByNameEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, type=_F.TYPE_STRING, label=_F.LABEL_OPTIONAL)
    entry.field.add(
        name="value", number=2, type=_F.TYPE_MESSAGE, label=_F.LABEL_OPTIONAL, type_name=f".{package}.Inner"
    )
    outer.field.add(
        name="by_name",
        number=2,
        type=_F.TYPE_MESSAGE,
        label=_F.LABEL_REPEATED,
        type_name=f".{package}.Outer.ByNameEntry",
    )
    outer.oneof_decl.add(name="choice").options.Extensions[options_pb2.one_required] = False
    for number, name in ((3, "left"), (4, "right")):
        outer.field.add(name=name, number=number, type=_F.TYPE_STRING, label=_F.LABEL_OPTIONAL, oneof_index=0)
    field = outer.field.add(
        name="f",
        number=1,
        type=_TYPES[type_name],
        label=_F.LABEL_REPEATED if repeated else _F.LABEL_OPTIONAL,
        type_name=f".{package}.{type_name}" if type_name in ("Kind", "Inner") else None,
    )
    if optional:
        field.proto3_optional = True
        field.oneof_index = 1
        outer.oneof_decl.add(name="_f")
    given = options_pb2.FieldRules(**rules)
    if raw:
        given.MergeFromString(raw)
    if given.ByteSize():
        field.options.Extensions[options_pb2.rules].CopyFrom(given)
    pool = Default()
    pool.AddSerializedFile(file.SerializeToString())
    return GetMessageClass(pool.FindMessageTypeByName(f"{package}.Outer"))


def refused(kind: Any, **fields: Any) -> list[tuple[str, str]]:
    """What is wrong with a message: paths and descriptions."""
    check = validator(kind.DESCRIPTOR)
    assert check is not None
    try:
        check(kind(**fields))
    except BadRequest as bad:
        assert bad.reason == "FIELD_INVALID" and bad.metadata == {"field": bad.violations[0].field}
        return [(violation.field, violation.description) for violation in bad.violations]
    return []


RULES = [
    ("string", {}, {"required": True}, ["x"], [""]),
    ("bytes", {}, {"required": True}, [b"x"], [b""]),
    ("Kind", {}, {"required": True}, [1], [0]),
    ("string", {"repeated": True}, {"required": True}, [["x"]], [[]]),
    ("double", {}, {"finite": True}, [0.0, -1e300], [math.nan, math.inf, -math.inf]),
    ("double", {"repeated": True}, {"finite": True}, [[], [1.0]], [[1.0, math.nan]]),
    ("double", {}, {"minimum": 0.0}, [0.0, 1.0, math.inf], [-0.1, math.nan]),
    ("double", {}, {"maximum": 1.0}, [1.0, -math.inf], [1.1, math.nan]),
    ("int64", {}, {"minimum": 1, "maximum": 9}, [1, 9], [0, 10]),
    ("int64", {"repeated": True}, {"minimum": 1}, [[], [1, 2]], [[1, 0]]),
    ("int64", {"optional": True}, {"minimum": 1}, [1], [0]),
    ("string", {}, {"min_length": 2}, ["", "ab"], ["a"]),
    ("string", {}, {"max_length": 2}, ["", "ab", "éé"], ["abc"]),
    ("bytes", {}, {"max_length": 2}, [b"ab"], [b"abc"]),
    ("string", {}, {"pattern": "[a-z]+"}, ["", "abc"], ["abc1", "Abc", "abc\n"]),
    ("string", {}, {"resource": ["models/{model}"]}, ["", "models/fraud"], ["models/", "models/a/b", "x/fraud"]),
    (
        "string",
        {},
        {"resource": ["models/{model}", "models/{model}/versions/{version}"]},
        ["models/a", "models/a/versions/3"],
        ["models/a/versions/", "models/a/versions/3/x"],
    ),
    ("string", {"repeated": True}, {"min_items": 1, "max_items": 2}, [["a"], ["a", "b"]], [[], ["a", "b", "c"]]),
    ("Kind", {}, {"defined_only": True}, [0, 1], [2, -1]),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "how", "rules", "good", "bad"), RULES, ids=lambda v: str(v)[:40])
def test_a_rule_lets_the_good_through_and_names_the_bad(kind, how, rules, good, bad):
    outer = message(kind, **how, **rules)
    assert [refused(outer, f=value) for value in good] == [[] for _ in good]
    for value in bad:
        [(path, description)] = refused(outer, f=value)
        assert path.partition("[")[0] == "f" and description


def test_an_optional_field_that_is_absent_breaks_no_rule_on_values():
    assert refused(message("int64", optional=True, minimum=1)) == []


def test_a_required_message_must_be_present():
    outer = message("Inner", required=True)
    assert refused(outer) == [("f", "must be set")]
    assert refused(outer, f={"name": "x"}) == []


def test_a_violation_is_named_by_its_whole_path():
    outer = message("Inner", repeated=True)
    fields = {"f": [{"name": "a"}, {"name": "b", "deeper": [{"name": "c"}, {"deeper": []}]}]}
    assert refused(outer, **fields) == [("f[1].deeper[1].name", "must be set")]


def test_the_values_of_a_map_are_checked():
    outer = message("string")
    assert refused(outer, by_name={"one": {"name": "x"}, "two": {}}) == [
        ("by_name['two'].name", "must be set")
    ]


def test_a_long_list_names_the_item_that_is_wrong():
    assert refused(message("double", repeated=True, finite=True), f=[0.0] * 500 + [math.inf]) == [
        ("f[500]", "expected a finite number, got inf")
    ]


def test_many_violations_are_counted_and_the_first_are_listed():
    outer = message("Inner", repeated=True)
    check = validator(outer.DESCRIPTOR)
    assert check is not None
    with pytest.raises(BadRequest, match=r"f\[0\].name: must be set \(and 99 more\)") as caught:
        check(outer(f=[{}] * 100))
    assert len(caught.value.violations) == 16


UNFIT = [
    ("string", {}, {"finite": True}),
    ("string", {}, {"minimum": 1.0}),
    ("double", {}, {"max_length": 3}),
    ("bytes", {}, {"pattern": "a"}),
    ("double", {}, {"resource": ["a/{b}"]}),
    ("string", {}, {"defined_only": True}),
    ("string", {}, {"min_items": 1}),
    ("Inner", {}, {"max_length": 1}),
    ("Inner", {"repeated": True}, {"finite": True}),
    ("double", {}, {"required": True}),
    ("bool", {}, {"required": True}),
    ("string", {}, {"pattern": "("}),
]


@pytest.mark.parametrize(("kind", "how", "rules"), UNFIT, ids=str)
def test_a_rule_that_does_not_fit_its_field_is_found_before_anything_is_served(kind, how, rules):
    with pytest.raises(RuleError):
        validator(message(kind, **how, **rules).DESCRIPTOR)


def test_a_rule_of_a_later_version_is_refused_rather_than_ignored():
    # Field 99, a varint: what a newer options.proto might add.
    with pytest.raises(RuleError, match="does not know"):
        validator(message("string", raw=b"\x98\x06\x01").DESCRIPTOR)


@pytest.mark.parametrize("module", [features_pb2, ranking_pb2, registry_pb2])
def test_every_contract_that_ships_compiles(module):
    for service in module.DESCRIPTOR.services_by_name.values():
        for method in service.methods:
            validator(method.input_type)


def test_a_contract_without_rules_costs_nothing():
    assert validator(d.UninterpretedOption.NamePart.DESCRIPTOR) is None
