import pytest

from trunkline_whisper_micro.espeak import word_times

WORD, PHONEME = 1, 7


def times(text, events, duration_s):
    return [
        (word.text, round(word.start_s, 3), round(word.end_s, 3))
        for word in word_times(text, events, duration_s)
    ]


def test_a_word_ends_where_the_next_one_starts():
    events = [(WORD, 0, 0.0, ""), (WORD, 5, 0.4, "")]
    assert times("good day", events, 0.9) == [("good", 0.0, 0.4), ("day", 0.4, 0.9)]


def test_a_word_ends_at_the_pause_before_the_next_one():
    events = [(WORD, 0, 0.0, ""), (PHONEME, 0, 0.3, "_:"), (WORD, 6, 0.5, ""), (PHONEME, 6, 0.8, "_")]
    assert times("good, day", events, 1.1) == [("good,", 0.0, 0.3), ("day", 0.5, 0.8)]


def test_words_said_in_one_breath_share_their_time_by_their_letters():
    events = [(WORD, 0, 0.2, ""), (WORD, 7, 0.7, "")]
    assert times("of the day", events, 1.0) == [("of", 0.2, 0.4), ("the", 0.4, 0.7), ("day", 0.7, 1.0)]


def test_a_word_of_several_parts_starts_with_the_first_one():
    events = [(WORD, 0, 0.0, ""), (WORD, 7, 0.3, ""), (WORD, 11, 0.6, "")]
    assert times("twenty-six euros", events, 1.0) == [("twenty-six", 0.0, 0.6), ("euros", 0.6, 1.0)]


def test_a_mark_that_stands_alone_belongs_to_the_word_before():
    events = [(WORD, 0, 0.0, ""), (WORD, 3, 0.2, "")]
    assert times("Où est ?", events, 0.6) == [("Où", 0.0, 0.2), ("est ?", 0.2, 0.6)]


@pytest.mark.parametrize("text", ["", "  ", "?"])
def test_nothing_to_say_has_no_words(text):
    assert times(text, [], 0.5) == []


def test_a_first_word_without_an_event_starts_at_the_beginning():
    assert times("good day", [(WORD, 5, 0.4, "")], 0.9) == [("good", 0.0, 0.4), ("day", 0.4, 0.9)]
