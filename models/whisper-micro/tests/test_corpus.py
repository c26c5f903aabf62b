from random import Random

import numpy as np
import pytest

from trunkline_whisper_micro import corpus
from trunkline_whisper_micro.corpus import Corpus, Plan


@pytest.fixture(scope="module")
def made(tmp_path_factory, tokens):
    from speakers import Tones

    place = tmp_path_factory.mktemp("clips")
    for language in ("en", "es"):
        corpus.write_shard(place, Plan(7, tokens), "train", language, 0, 20, Tones())
        corpus.write_shard(place, Plan(7, tokens), "validation", language, 0, 5, Tones())
    return place


def test_a_shard_is_read_as_it_was_drawn(made, tokens):
    read = Corpus(made, ("en", "es"), 1)
    assert len(read) == 40
    assert [label.language for label in read.labels] == ["en"] * 20 + ["es"] * 20
    for clip, length in enumerate(read.lengths()):
        assert read.frames(clip).shape == (length, 80)
        label = read.labels[clip]
        for said in label.segments:
            assert 0 <= said.start_s <= said.end_s <= length / 100 + 0.01
            assert tokens.decode(said.text).startswith(" ")
    assert read.hours == pytest.approx(sum(read.lengths()) / 360_000)


def test_a_plan_gives_the_same_shard_again(made, tmp_path, tokens, speaker):
    corpus.write_shard(tmp_path, Plan(7, tokens), "train", "es", 0, 20, speaker)
    for name in ("es-00000.npy", "es-00000.jsonl"):
        assert (tmp_path / name).read_bytes() == (made / name).read_bytes()
    corpus.write_shard(tmp_path, Plan(8, tokens), "train", "es", 0, 20, speaker)
    assert (tmp_path / "es-00000.jsonl").read_bytes() != (made / "es-00000.jsonl").read_bytes()


def test_a_shard_is_the_same_whatever_was_made_before_it(tmp_path, tokens):
    from speakers import Drifting

    first, later = tmp_path / "first", tmp_path / "later"
    assert corpus.make(first, Plan(7, tokens), ("es",), 0, 1, Drifting) == 1
    assert corpus.make(later, Plan(7, tokens), ("en", "es"), 0, 1, Drifting) == 2
    for name in ("validation-es.npy", "validation-es.jsonl"):
        assert (first / name).read_bytes() == (later / name).read_bytes()


def test_batches_hold_clips_that_fit_and_none_twice(made):
    read = Corpus(made, ("en", "es"), 1)
    ceilings = (200, 400, 800)
    seen = []
    for ceiling, chosen in read.batches(Random(1), 1200, ceilings):
        assert all(read.lengths()[clip] <= ceiling for clip in chosen)
        assert len(chosen) * ceiling >= 1200
        assert (len(chosen) - 1) * ceiling < 1200
        seen += chosen
    assert len(seen) == len(set(seen)) > 0


def test_what_is_there_is_not_made_again(made, tokens):
    before = {path.name: path.stat().st_mtime_ns for path in made.glob("*-*")}
    assert corpus.make(made, Plan(7, tokens), ("en", "es"), 1, workers=1) == 0
    assert {path.name: path.stat().st_mtime_ns for path in made.glob("*-*")} == before


def test_clips_of_another_plan_are_not_mixed_in(made, tokens):
    corpus.make(made, Plan(7, tokens), ("en",), 1, workers=1)
    with pytest.raises(ValueError, match="another plan"):
        corpus.make(made, Plan(8, tokens), ("en",), 1, workers=1)


def test_training_is_watched_by_whole_sentences_of_the_validation_split(made, tokens):
    watched = Corpus(made, ("en", "es"), 1, "validation")
    assert len(watched) == 10
    assert all(len(label.segments) == 1 for label in watched.labels)
    texts = {tokens.decode(said.text) for label in watched.labels for said in label.segments}
    heard = {
        tokens.decode(said.text) for label in Corpus(made, ("en", "es"), 1).labels for said in label.segments
    }
    assert not texts & heard


def test_too_few_shards_are_an_error(made):
    with pytest.raises(FileNotFoundError):
        Corpus(made, ("en", "es"), 2)


def test_a_shard_without_labels_counts_as_missing(tmp_path, tokens):
    np.save(tmp_path / "en-00000.npy", np.zeros((1, 80), np.uint8))
    with pytest.raises(FileNotFoundError):
        Corpus(tmp_path, ("en",), 1)
