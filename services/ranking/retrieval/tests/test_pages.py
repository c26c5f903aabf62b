from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline_hop.errors import BadRequest
from trunkline_retrieval.pages import page


@given(st.sets(st.text(min_size=1)), st.integers(0, 5), st.booleans())
def test_pages_together_are_the_list(keys: set[str], size: int, down: bool) -> None:
    everything = sorted(keys, reverse=down)
    found: list[str] = []
    token = ""
    while True:
        part, token = page(everything, str, size, token)
        found += part
        if not token:
            break
    assert found == everything


@given(st.sets(st.text(min_size=1), min_size=4), st.booleans())
def test_a_page_goes_on_where_the_one_before_ended_though_its_last_was_deleted(
    keys: set[str], down: bool
) -> None:
    everything = sorted(keys, reverse=down)
    first, token = page(everything, str, 2, "")
    left = [each for each in everything if each != first[-1]]
    assert list(page(left, str, 0, token)[0]) == everything[2:52]


@pytest.mark.parametrize("token", ["?", "abc", "/w=="])
def test_a_token_that_no_page_gave_is_refused(token: str) -> None:
    with pytest.raises(BadRequest) as refused:
        page(["a"], str, 1, token)
    assert refused.value.metadata == {"field": "page_token"}
