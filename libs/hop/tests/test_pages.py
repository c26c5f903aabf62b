from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline_hop.errors import BadRequest
from trunkline_hop.pages import page, page_cursor, page_size, page_token

LIST = ("things",)
queries = st.lists(st.text(), min_size=1, max_size=3)


@given(queries, st.text())
def test_a_token_gives_its_cursor_back_to_its_query(query: list[str], cursor: str) -> None:
    assert page_cursor(query, page_token(query, cursor)) == cursor


@given(queries, queries, st.text())
def test_another_query_does_not_take_it(query: list[str], other: list[str], cursor: str) -> None:
    if query != other:
        with pytest.raises(BadRequest) as wrong:
            page_cursor(other, page_token(query, cursor))
        assert wrong.value.violations[0].field == "page_token"


@given(queries, st.text(), st.data())
def test_a_token_changed_anywhere_is_refused(query: list[str], cursor: str, data: st.DataObject) -> None:
    token = page_token(query, cursor)
    at = data.draw(st.integers(0, len(token) - 1))
    character = data.draw(st.characters().filter(lambda c: c != token[at]))
    with pytest.raises(BadRequest):
        page_cursor(query, token[:at] + character + token[at + 1 :])


@given(st.text())
def test_any_text_is_refused_without_breaking(text: str) -> None:
    with pytest.raises(BadRequest):
        page_cursor(["q"], text)


def test_sizes_have_a_default_and_a_maximum() -> None:
    assert [page_size(n) for n in (0, 1, 1000, 1001, 2**31 - 1)] == [50, 1, 1000, 1000, 1000]


@given(st.sets(st.text(min_size=1)), st.integers(0, 5), st.booleans())
def test_pages_together_are_the_list(keys: set[str], size: int, down: bool) -> None:
    everything = sorted(keys, reverse=down)
    found: list[str] = []
    token = ""
    while True:
        part, token = page(everything, str, size, token, LIST)
        found += part
        if not token:
            break
    assert found == everything


@given(st.sets(st.text(min_size=1), min_size=4), st.booleans())
def test_a_page_goes_on_where_the_one_before_ended_though_its_last_was_deleted(
    keys: set[str], down: bool
) -> None:
    everything = sorted(keys, reverse=down)
    first, token = page(everything, str, 2, "", LIST)
    left = [each for each in everything if each != first[-1]]
    assert list(page(left, str, 0, token, LIST)[0]) == everything[2:52]
