import copy

import pytest

from trunkline_phrase_translator import artifact, card
from trunkline_phrase_translator.conversations import DIRECTIONS


@pytest.fixture
def evaluation():
    scores = {"sentences": 300, "chrf": 91.0, "bleu": 80.0, "exact": 0.8, "wrong_language": 0}
    conditions = {name: dict(scores) for name in ("alone", "context", "unasked", "spoken", "two", "masked")}
    conditions["masked"]["kept"] = 0.99
    return {
        "recipe": {
            "size": {"width": 256, "layers": 5, "inner": 640, "key_heads": 2},
            "parameters": 4_500_000,
            "settings": {"minutes": 85.0, "seed": 7, "threads": 1},
            "vocabulary": 4096,
        },
        "curve": [
            {
                "minutes": float(minute),
                "steps": 100 * minute,
                "tokens": 300_000 * minute,
                "turns": 10_000 * minute,
                "loss": 1.0 / minute,
                "validation_loss": 1.5 / minute,
                "validated": 0.9,
                "exact": 0.5,
            }
            for minute in range(1, 40)
        ],
        "parity": {"sentences": 60, "same": 0.98},
        "measured": {
            "sentences": 300,
            "directions": {f"{one.source}-{one.target}": copy.deepcopy(conditions) for one in DIRECTIONS},
            "families": {"weather": {"sentences": 200, "exact": 0.75}},
            "wrong_language": {"sentences": 14_400, "wrong": 3, "share": 0.00021},
            "speed": {"sentences": 900, "at_once": 64, "sentences_per_s": 150.0, "alone_ms": 12.0},
        },
    }


def test_a_model_that_reaches_everything_misses_nothing(evaluation):
    lines = card.thresholds(evaluation)
    assert len(lines) == 12 * 2 * 2 + 1
    assert all(line.reached for line in lines)
    assert "Not reached" not in card.render(evaluation, {})


@pytest.mark.parametrize(("name", "value"), [("chrf", 84.9), ("exact", 0.699)])
@pytest.mark.parametrize("condition", ["alone", "context"])
def test_one_figure_of_one_direction_is_enough_to_miss(evaluation, name, value, condition):
    evaluation["measured"]["directions"]["fr-de"][condition][name] = value
    (missed,) = [line for line in card.thresholds(evaluation) if not line.reached]
    assert "fr-de" in missed.name
    assert f"- {missed.name}" in card.render(evaluation, {})


def test_other_conditions_are_reported_and_not_demanded(evaluation):
    evaluation["measured"]["directions"]["en-es"]["two"]["exact"] = 0.1
    assert all(line.reached for line in card.thresholds(evaluation))
    assert "10.0%" in card.render(evaluation, {})


def test_the_wrong_language_is_a_threshold(evaluation):
    evaluation["measured"]["wrong_language"]["share"] = 0.0011
    assert [line.name for line in card.thresholds(evaluation) if not line.reached] == ["wrong language"]


def test_a_card_says_how_large_and_how_long(evaluation):
    text = card.render(evaluation, {"openvino_model.bin": 4_500_000})
    assert "4,500,000 bytes" in text
    assert "39 minutes, 1 thread, seed 7: 390,000 translations" in text


def test_a_card_can_be_written_before_anything_was_learned(evaluation):
    evaluation["curve"] = []
    assert "## Learning" not in card.render(evaluation, {})


def test_files_are_what_their_sums_say(tmp_path):
    for name in artifact.VERSION_FILES:
        (tmp_path / name).write_bytes(name.encode())
    assert artifact.seal(tmp_path) == sum(map(len, artifact.VERSION_FILES))
    assert set(artifact.verify(tmp_path)) == set(artifact.VERSION_FILES)
    (tmp_path / "config.json").write_text("other")
    with pytest.raises(ValueError, match=r"config\.json"):
        artifact.verify(tmp_path)


def test_files_that_are_not_whole_or_too_large_are_not_sealed(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"config\.json"):
        artifact.seal(tmp_path)
    for name in artifact.CHECKPOINT_FILES:
        (tmp_path / name).write_bytes(b"")
    with (tmp_path / "model.safetensors").open("wb") as file:
        file.truncate(artifact.LIMIT_BYTES + 1)
    with pytest.raises(ValueError, match="more than"):
        artifact.seal(tmp_path, artifact.CHECKPOINT_FILES)
