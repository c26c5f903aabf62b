"""Which language a text is in."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trunkline_translate.detect import _NOISE, Detector

LANGUAGES = ("en", "es", "de", "fr", "zh", "ja")


@pytest.fixture(scope="module")
def detector() -> Detector:
    return Detector(LANGUAGES)


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Where is the station?", "en"),
        ("¿Dónde está la estación?", "es"),
        ("Wo ist der Bahnhof?", "de"),
        ("Où est la gare ?", "fr"),
        ("车站在哪里？", "zh"),
        ("駅はどこですか。", "ja"),
        ("WHERE IS THE STATION?", "en"),
        ("Danke", "de"),
        ("Yes, of course", "en"),
        ("はい", "ja"),
        ("Siehe https://example.com/where-is-the-station und info@the-station.com", "de"),
        ("Le \ue000 est à la gare", "fr"),
    ],
)
def test_the_language_of_a_sentence_comes_first(detector: Detector, text: str, language: str):
    assert detector.detect(text)[0].code == language


@pytest.mark.parametrize(
    "text", ["", "  \n", "12", "3.50 €", "?!", "😀", "\ue000", "OK", "https://example.com", "a@example.com"]
)
def test_nothing_is_answered_where_nothing_tells(detector: Detector, text: str):
    assert detector.detect(text) == []


@given(text=st.text(max_size=80))
@settings(max_examples=150, deadline=None)
def test_confidences_fall_and_add_up_to_one_over_the_languages(detector: Detector, text: str):
    found = detector.detect(text)
    shares = [each.confidence for each in found]
    assert shares == sorted(shares, reverse=True)
    if found:
        assert sum(shares) == pytest.approx(1, abs=1e-4)
        assert sorted(each.code for each in found) == sorted(LANGUAGES)


@pytest.mark.parametrize("piece", ["@", "a@", "@.", "a", "a.", "a@b", "www.", "1"])
def test_what_tells_nothing_is_found_in_one_pass(piece: str):
    """Where a stretch of text can be matched in many ways, this takes half an hour."""
    assert len(_NOISE.sub("", piece * 20_000)) <= len(piece) * 20_000


def test_only_the_languages_that_were_named_are_answered():
    found = Detector(["es", "fr", "es"]).detect("Where is the station?")
    assert {each.code for each in found} == {"es", "fr"}


def test_a_language_that_the_model_does_not_know_is_named():
    with pytest.raises(ValueError, match="xx"):
        Detector(["en", "xx"])
