from __future__ import annotations

import pytest

from trunkline_hop.errors import BadRequest
from trunkline_retrieval.filter import MAX_DEPTH, And, Comparison, Not, Or, parse

A, B, C = (Comparison(name, "=", 1.0) for name in "abc")

MOVIE = {"genre": "crime", "year": 1994.0, "dubbed": True, "tags": ("gore", "noir")}


@pytest.mark.parametrize(
    ("text", "condition"),
    [
        ("a=1", A),
        ("a = 1 AND b = 1 AND c = 1", And((A, B, C))),
        ("a = 1 OR b = 1 AND c = 1", And((Or((A, B)), C))),
        ("a = 1 AND b = 1 OR c = 1", And((A, Or((B, C))))),
        ("(a = 1 AND b = 1) OR c = 1", Or((And((A, B)), C))),
        ("NOT a = 1 OR b = 1", Or((Not(A), B))),
        ("-a = 1 AND -(b = 1 OR c = 1)", And((Not(A), Not(Or((B, C)))))),
        ("NOT -NOT a = 1", Not(A)),
        ("((((a=1))))", A),
        ('a != "x y"', Comparison("a", "!=", "x y")),
        (r'a = "say \"so\" \\"', Comparison("a", "=", r'say "so" \ '.strip())),
        ("a = 'it is'", Comparison("a", "=", "it is")),
        ("a = sci-fi", Comparison("a", "=", "sci-fi")),
        ("a:true", Comparison("a", ":", True)),
        ("a = truest", Comparison("a", "=", "truest")),
        ("a:*", Comparison("a", ":", None)),
        ("a <= -2.5e3", Comparison("a", "<=", -2500.0)),
        ("a > +.5", Comparison("a", ">", 0.5)),
        ("a\n<\t3", Comparison("a", "<", 3.0)),
        ("a >= genève", Comparison("a", ">=", "genève")),
    ],
)
def test_a_text_says_one_condition(text: str, condition: object) -> None:
    parsed = parse(text)
    assert parsed is not None
    assert parsed.condition == condition


@pytest.mark.parametrize("text", ["", " ", "\n\t"])
def test_an_empty_text_is_no_filter(text: str) -> None:
    assert parse(text) is None


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("a", "= or !=, <, <=, > or >= or : expected at character 2"),
        ("= 3", "an attribute's name, NOT, - or ( expected at character 1"),
        ("a = ", "a number, a text in quotes, a word, true or false expected at character 5"),
        ("a < true", "a number, a text in quotes or a word expected at character 5"),
        ('a = "x', "a number, a text in quotes, a word, true or false expected at character 5"),
        ("a = AND", "a number, a text in quotes, a word, true or false expected at character 5"),
        ("a = 1 b = 1", "AND, OR or the end expected at character 7"),
        ("(a = 1", ") expected at character 7"),
        ("a = 1)", "the end expected at character 6"),
        ("a = 1 AND", "an attribute's name, NOT, - or ( expected at character 10"),
        ("a.b = 1", "= or !=, <, <=, > or >= or : expected at character 2"),
        ("Année = 1", "an attribute's name, NOT, - or ( expected at character 1"),
        ("a != *", "a number, a text in quotes, a word, true or false expected at character 6"),
    ],
)
def test_what_is_no_filter_is_refused_where_it_goes_wrong(text: str, complaint: str) -> None:
    with pytest.raises(BadRequest) as refused:
        parse(text)
    (violation,) = refused.value.violations
    assert violation.field == "filter"
    assert complaint in violation.description


def test_nesting_ends_somewhere() -> None:
    def nested(levels: int) -> str:
        return "NOT (a = 1 AND " * levels + "b = 1" + ")" * levels

    assert parse(nested(MAX_DEPTH // 2)) is not None
    with pytest.raises(BadRequest, match=f"at most {MAX_DEPTH} levels"):
        parse(nested(MAX_DEPTH // 2 + 1))
    assert parse("(" * 2000 + "a = 1" + ")" * 2000) is not None


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("genre = crime", True),
        ("genre != crime", False),
        ("genre < drama", True),
        ("genre >= crime AND genre <= crime", True),
        ("genre:crime", True),
        ('genre:"cri"', False),
        ("year >= 1994 AND year < 1995", True),
        ('year = "1994"', False),
        ('year != "1994"', False),
        ('NOT year = "1994"', True),
        ("dubbed = true", True),
        ("dubbed = 1", False),
        ("dubbed != false", True),
        ("tags:gore AND tags:noir", True),
        ("tags:romance", False),
        ("tags = gore", False),
        ("tags != gore", False),
        ("tags:3", False),
        ("rating > 3", False),
        ("rating != 3", False),
        ("NOT rating > 3", True),
        ("rating:*", False),
        ("tags:* AND genre:* AND year:* AND dubbed:*", True),
        ("genre = drama OR year = 1994 AND dubbed = false", False),
    ],
)
def test_a_filter_holds_for_what_it_says(text: str, matches: bool) -> None:
    parsed = parse(text)
    assert parsed is not None
    assert parsed.matches(MOVIE) is matches


def test_the_same_text_is_parsed_once() -> None:
    assert parse("a = 17") is parse("a = 17")
