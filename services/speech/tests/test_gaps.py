"""What is told of missing audio."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from trunkline_speech.events import AudioDropped, DropReason
from trunkline_speech.gaps import JOIN, LONGEST, Gaps

LOST = DropReason.NOT_FINITE


def test_losses_close_together_are_one_and_others_are_not() -> None:
    gaps = Gaps()
    gaps.lost(100, 10, LOST)
    gaps.lost(110 + JOIN - 1, 10, LOST)
    gaps.lost(5_000, 10, LOST)
    assert gaps.rest() == [AudioDropped(100, 19 + JOIN, LOST), AudioDropped(5_000, 10, LOST)]


def test_a_loss_is_told_of_once_nothing_can_join_it() -> None:
    gaps = Gaps()
    gaps.lost(100, 10, LOST)
    assert gaps.settled(110 + JOIN) == []
    assert gaps.settled(111 + JOIN) == [AudioDropped(100, 10, LOST)]
    assert gaps.settled(10_000) == []
    assert gaps.rest() == []


def test_a_loss_without_end_is_told_of_in_pieces() -> None:
    gaps = Gaps()
    for start in range(0, 3 * LONGEST, 1_000):
        gaps.lost(start, 1_000, LOST)
    assert gaps.settled(LONGEST + JOIN + 1) == [AudioDropped(0, LONGEST, LOST)]
    assert gaps.rest() == [AudioDropped(LONGEST, LONGEST, LOST), AudioDropped(2 * LONGEST, LONGEST, LOST)]


def test_a_loss_of_unknown_length_is_told_of_with_none() -> None:
    gaps = Gaps()
    gaps.lost(500, 0, DropReason.UNDECODABLE)
    assert gaps.rest() == [AudioDropped(500, 0, DropReason.UNDECODABLE)]


def test_losses_for_other_reasons_stay_apart() -> None:
    gaps = Gaps()
    gaps.lost(0, 10, LOST)
    gaps.lost(10, 10, DropReason.UNDECODABLE)
    assert gaps.rest() == [AudioDropped(0, 10, LOST), AudioDropped(10, 10, DropReason.UNDECODABLE)]


@given(
    losses=st.lists(st.tuples(st.integers(0, 6_000), st.integers(1, 20_000)), max_size=12),
    cut=st.integers(1, 700),
)
def test_how_a_loss_was_cut_changes_nothing(losses: list[tuple[int, int]], cut: int) -> None:
    whole, pieces, at = Gaps(), Gaps(), 0
    for distance, samples in losses:
        start = at + distance
        whole.lost(start, samples, LOST)
        at = start + samples
        for piece in range(start, at, cut):
            pieces.lost(piece, min(cut, at - piece), LOST)
    assert pieces.rest() == whole.rest()
