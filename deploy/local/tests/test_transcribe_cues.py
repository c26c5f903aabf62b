"""Subtitles: what fits on a screen, split between words, with their times."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted_speech import RATE_HZ, duration

from trunkline.speech.v1 import speech_pb2 as pb
from trunkline_local.transcribe_cues import LINE, LINES, LONGEST_S, Cue, Format, cues, header, render


def segment(text, start_s, end_s, words=True, speakers=()):
    texts = text.split()
    places = [start_s + (end_s - start_s) * n / max(1, len(texts)) for n in range(len(texts) + 1)]
    return pb.Segment(
        text=text,
        start_time=duration(round(start_s * RATE_HZ)),
        end_time=duration(round(end_s * RATE_HZ)),
        words=[
            pb.Word(
                text=word,
                start_time=duration(round(places[n] * RATE_HZ)),
                end_time=duration(round(places[n + 1] * RATE_HZ)),
                speaker_tag=speakers[n] if speakers else 0,
            )
            for n, word in enumerate(texts)
        ]
        if words
        else [],
    )


def test_a_short_segment_is_one_cue():
    (cue,) = cues(segment("Where is the station?", 1.0, 2.5))
    assert cue == Cue(1.0, 2.5, ("Where is the station?",))


def test_a_longer_one_stands_in_two_lines_of_about_one_length():
    (cue,) = cues(segment("Please wake me next Thursday at twenty-five to eleven.", 0.0, 4.0))
    assert cue.lines == ("Please wake me next Thursday", "at twenty-five to eleven.")


def test_what_does_not_fit_goes_on_in_the_next_cue_where_its_word_begins():
    text = " ".join(f"word{n:02}" for n in range(20))
    first, second = cues(segment(text, 0.0, 6.0))
    assert " ".join((*first.lines, *second.lines)) == text
    assert first.end_s == second.start_s == pytest.approx(12 * 0.3)


def test_a_cue_stands_no_longer_than_seven_seconds_and_has_one_speaker():
    slow = list(cues(segment("one two three four", 0.0, 20.0)))
    assert [cue.lines for cue in slow] == [("one",), ("two",), ("three",), ("four",)]
    both = list(cues(segment("yes no no", 0.0, 1.0, speakers=(1, 2, 2))))
    assert [(cue.lines, cue.speaker) for cue in both] == [(("yes",), 1), (("no no",), 2)]


def test_a_segment_without_words_is_split_by_its_letters():
    first, second = cues(segment("a" * 30 + " " + "b" * 10, 0.0, 8.0, words=False))
    assert (first.end_s, second.start_s, second.end_s) == (6.0, 6.0, 8.0)
    assert list(cues(segment("", 0.0, 1.0, words=False))) == []


@given(
    texts=st.lists(st.text("abcdefghij", min_size=1, max_size=60), min_size=1, max_size=60),
    length_s=st.floats(0.1, 100),
    words=st.booleans(),
)
def test_every_word_is_shown_once_in_order_and_every_cue_fits(texts, length_s, words):
    found = list(cues(segment(" ".join(texts), 5.0, 5.0 + length_s, words)))
    assert "".join("".join(cue.lines) for cue in found).replace(" ", "") == "".join(texts)
    last = 5.0
    for cue in found:
        assert last - 1e-3 <= cue.start_s <= cue.end_s
        last = cue.end_s
        assert len(cue.lines) <= LINES
        assert all(len(line) <= LINE for line in cue.lines)
        # A single word is as long as it is.
        assert cue.end_s - cue.start_s <= LONGEST_S + 1e-3 or len(" ".join(cue.lines).split()) <= 2


def test_cues_are_written_as_players_read_them():
    cue = Cue(3661.0015, 3662.5, ("one <two>", "three & four"), speaker=2)
    assert header(Format.SRT) == ""
    assert render(cue, 7, Format.SRT) == "7\n01:01:01,002 --> 01:01:02,500\none <two>\nthree & four\n\n"
    assert header(Format.VTT) == "WEBVTT\n\n"
    assert render(cue, 7, Format.VTT) == (
        "01:01:01.002 --> 01:01:02.500\n<v Speaker 2>one &lt;two&gt;\nthree &amp; four\n\n"
    )
