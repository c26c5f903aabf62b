import copy

import pytest

from trunkline_whisper_micro import artifact, card


def scores(wer):
    return {"wer": wer, "words": 1000, "sentences_right": 0.87}


def language(wer):
    return {
        "noise": scores(wer),
        "clean": scores(0.021),
        "cut": scores(0.061),
        "heard": scores(0.072),
        "times": {
            "segments": {"found": 97, "of": 100, "start_s": 0.031, "end_s": 0.042},
            "words": {"found": 500, "start_s": 0.053, "end_s": 0.064},
        },
        "language": 0.991,
        "templates": 66,
        "voices": 13,
        "seconds": 812.5,
    }


EVALUATION = {
    "recipe": {
        "languages": ["en", "es"],
        "clips": 90_000,
        "hours": 71.3,
        "size": {"width": 192, "heads": 3, "encoder_layers": 4, "decoder_layers": 2},
        "parameters": 3_456_789,
        "settings": {"minutes": 30.0, "seed": 7, "threads": 2},
        "vocabulary": 1309,
        "window_s": 8.0,
    },
    "curve": [
        {
            "minutes": minute / 2,
            "steps": 100 * minute,
            "hours_heard": 1.5 * minute,
            "token_loss": 5 / minute,
            "character_loss": 3 / minute,
            "validated": minute / 40,
        }
        for minute in range(1, 40)
    ],
    "alignment": {"heads": [[1, 0]], "looks_at_its_word": 0.934},
    "parity": {"clips": 60, "same": 0.983, "texts_tokenised_alike": 60},
    "measured": {
        "clips": 300,
        "languages": {"en": language(0.0412), "es": language(0.0533)},
        "language": 0.9917,
        "silence": {"minutes": 10.0, "words": 0, "by_kind": {"silence": 0, "music": 0}},
    },
}


def changed(change):
    evaluation = copy.deepcopy(EVALUATION)
    change(evaluation)
    return evaluation


def test_every_figure_of_the_card_is_the_runs():
    text = card.render(EVALUATION, {"a.bin": 3_000_000, "b.xml": 345_678})
    for figure in (
        "3,345,678 bytes",
        "3.5 M parameters",
        "90,000 clips",
        "71.3 h",
        "4.1%",
        "5.3%",
        "2.1%",
        "6.1%",
        "7.2%",
        "87.0%",
        "99.1%",
        "98.3%",
        "93.4%",
        "0.03 s",
        "0.06 s",
        "97 of 100",
        "97.5%",
        "30 minutes, 2 threads, seed 7, 58 h heard in 3,900 steps",
        "English, Spanish",
        "German and French",
    ):
        assert figure in text
    assert "**no**" not in text


def test_a_model_within_its_thresholds_reaches_them_all():
    assert [line.reached for line in card.thresholds(EVALUATION)] == [True] * 4


@pytest.mark.parametrize(
    ("change", "missed"),
    [
        (lambda e: e["measured"]["languages"]["en"]["noise"].update(wer=0.0501), "word error rate, English"),
        (lambda e: e["measured"]["languages"]["es"]["noise"].update(wer=0.0801), "word error rate, Spanish"),
        (lambda e: e["measured"]["silence"].update(words=1), "words in 10 minutes without speech"),
        (lambda e: e["measured"].update(language=0.979), "language detected"),
    ],
)
def test_a_model_beyond_one_misses_that_one_and_its_card_says_so(change, missed):
    evaluation = changed(change)
    assert [line.name for line in card.thresholds(evaluation) if not line.reached] == [missed]
    assert card.render(evaluation, {}).count("**no**") == 1


def test_words_where_nobody_speaks_are_named_by_what_was_heard():
    def hears_music(evaluation):
        evaluation["measured"]["silence"] = {
            "minutes": 10.0,
            "words": 3,
            "by_kind": {"silence": 0, "music": 3},
        }

    assert "3 in 10 minutes (music 3)" in card.render(changed(hears_music), {})


def test_a_pipeline_that_crashed_is_said_to_have():
    text = card.render(changed(lambda e: e["measured"]["languages"]["en"].update(times=None)), {})
    assert "the pipeline crashed" in text


def test_the_card_of_four_languages_leaves_none_out():
    def four(evaluation):
        evaluation["recipe"]["languages"] = ["en", "es", "de", "fr"]
        evaluation["measured"]["languages"].update(de=language(0.07), fr=language(0.09))

    evaluation = changed(four)
    text = card.render(evaluation, {})
    assert "there are tokens, but nothing was learned" not in text
    assert [line.name for line in card.thresholds(evaluation) if not line.reached] == [
        "word error rate, French"
    ]


def test_a_signature_names_what_was_trained_and_no_more():
    assert artifact.signature(("en", "es"), 8.0) == {
        "task": "recognize_speech",
        "languages": ["en", "es"],
        "tasks": ["transcribe"],
        "window_s": 8.0,
    }


def test_files_are_what_their_sums_say(tmp_path):
    for name in artifact.VERSION_FILES:
        (tmp_path / name).write_bytes(name.encode())
    size = artifact.seal(tmp_path)
    assert size == sum(map(len, artifact.VERSION_FILES))
    assert set(artifact.verify(tmp_path)) == set(artifact.VERSION_FILES)
    (tmp_path / "config.json").write_text("other")
    with pytest.raises(ValueError, match=r"config\.json"):
        artifact.verify(tmp_path)


def test_a_version_that_is_not_whole_or_too_large_is_not_sealed(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"config\.json"):
        artifact.seal(tmp_path)
    for name in artifact.VERSION_FILES:
        (tmp_path / name).write_bytes(b"")
    with (tmp_path / "openvino_encoder_model.bin").open("wb") as file:
        file.truncate(artifact.LIMIT_BYTES + 1)
    with pytest.raises(ValueError, match="more than"):
        artifact.seal(tmp_path)
