from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline_retrieval import texts as texts_module
from trunkline_retrieval.texts import Texts

TEXTS = st.lists(st.text(max_size=12), unique=True, max_size=40)


@given(TEXTS, st.lists(st.text(max_size=12)))
def test_every_text_is_found_where_it_is_and_no_other(texts: list[str], others: list[str]) -> None:
    packed = Texts.of(texts)
    assert packed.take(packed.find(texts)) == texts
    found = packed.find(others)
    assert [row >= 0 for row in found] == [other in texts for other in others]


@given(TEXTS.flatmap(lambda texts: st.tuples(st.just(texts), st.permutations(texts))))
def test_the_order_of_texts_is_theirs_alone(both: tuple[list[str], list[str]]) -> None:
    assert Texts.of(both[0]).all() == Texts.of(both[1]).all()


@given(TEXTS)
def test_arrays_hold_all_there_is(texts: list[str]) -> None:
    packed = Texts.of(texts)
    again = Texts.from_arrays(packed.to_arrays())
    assert again.all() == packed.all()
    assert again.find(texts).tolist() == packed.find(texts).tolist()


def test_texts_of_one_hash_are_still_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        texts_module, "hashes", lambda texts: np.array([len(t) % 2 for t in texts], np.uint64)
    )
    texts = [f"{'x' * (number % 3)}{number}" for number in range(20)]
    packed = Texts.of(texts)
    assert packed.take(packed.find(texts)) == texts
    assert packed.all() == Texts.of(texts[::-1]).all()
    assert packed.find(["absent", "y"]).tolist() == [-1, -1]
