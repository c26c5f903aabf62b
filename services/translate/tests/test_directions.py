"""What a server translates, as a setting lists it."""

from __future__ import annotations

import pytest

from trunkline_translate.language import Direction, directions


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", set()),
        (" , ", set()),
        ("en,es", {"en-es", "es-en"}),
        ("en, es, de", {"en-es", "es-en", "en-de", "de-en", "es-de", "de-es"}),
        ("en-es", {"en-es"}),
        ("en-es,es-ca", {"en-es", "es-ca"}),
        ("en,es,en-cat", {"en-es", "es-en", "en-cat"}),
        ("en,es,en", {"en-es", "es-en"}),
    ],
)
def test_languages_are_all_directions_between_them_and_directions_themselves(
    text: str, expected: set[str]
) -> None:
    assert {str(direction) for direction in directions(text)} == expected


@pytest.mark.parametrize("text", ["en", "english,es", "en-es-de", "EN,ES", "en-en", "en-", "en_es", "en,en"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="direction"):
        directions(text)


def test_a_direction_is_what_it_says() -> None:
    assert directions("en-es") == {Direction("en", "es")}
