import av
import numpy as np
import pytest
from speakers import Tones

from trunkline_phrases.split import part_of
from trunkline_whisper_micro import samples, voices
from trunkline_whisper_micro.noises import RATE_HZ

SHIPPED = samples.load()


def decoded(path):
    with av.open(str(path)) as container:
        resampler = av.AudioResampler("s16", "mono", RATE_HZ)
        frames = [out for frame in (*container.decode(audio=0), None) for out in resampler.resample(frame)]
    return np.concatenate([frame.to_ndarray()[0] for frame in frames]) / 32768


@pytest.mark.parametrize("sample", SHIPPED, ids=lambda sample: sample.file)
def test_a_recording_says_what_training_never_met_in_a_voice_it_never_met(sample):
    for sentence in sample.sentences:
        assert part_of(sentence.template) == "test"
        assert sentence.voice.partition("+")[2] in voices.HELD_OUT_VARIANTS
        assert sentence.voice.partition("+")[0] in voices.ACCENTS[sample.language]
        assert voices.is_held_out(sentence.words_per_minute)


@pytest.mark.parametrize("sample", SHIPPED, ids=lambda sample: sample.file)
def test_the_manifest_tells_what_is_said_and_when(sample):
    sound = decoded(sample.path)
    assert len(sound) / RATE_HZ == pytest.approx(sample.duration_s, abs=0.05)
    heard = np.zeros(len(sound), bool)
    last = 0.0
    for sentence in sample.sentences:
        assert " ".join(word.text for word in sentence.words) == sentence.text
        for word in sentence.words:
            assert last <= word.start_s < word.end_s <= sample.duration_s
            last = word.end_s
        heard[round(sentence.words[0].start_s * RATE_HZ) : round(last * RATE_HZ)] = True
    # eSpeak lets its last sound fade behind the last word.
    fading = np.convolve(heard, np.ones(RATE_HZ // 4), "full")[: len(sound)] > 0
    assert np.sqrt(np.mean(sound[heard] ** 2)) > 100 * np.sqrt(np.mean(sound[~fading] ** 2))


def test_two_take_turns_in_a_conversation_of_each_language():
    conversations = [sample for sample in SHIPPED if len(sample.sentences) > 1]
    assert [sample.language for sample in conversations] == ["en", "es"]
    for sample in conversations:
        assert 20 <= sample.duration_s <= 30
        assert {sentence.speaker for sentence in sample.sentences} == {1, 2}
        assert len({sentence.voice for sentence in sample.sentences}) == 2


def test_they_are_small():
    assert sum(file.stat().st_size for file in samples.directory().iterdir()) < 400_000


def test_what_is_said_and_by_whom_is_drawn_the_same_again(tmp_path):
    made = samples.make(tmp_path, Tones(), lambda path, sound: path.write_bytes(sound.tobytes()))

    def drawn(found):
        return [
            (sample.file, [(each.text, each.template, each.voice) for each in sample.sentences])
            for sample in found
        ]

    assert drawn(made) == drawn(SHIPPED)
    assert samples.load(tmp_path) == made
    assert (tmp_path / "en-01.ogg").exists()


def test_the_same_sound_is_the_same_file(tmp_path):
    tone = np.sin(np.arange(RATE_HZ) / 20).astype(np.float32) / 3
    for name in ("first.ogg", "second.ogg"):
        samples.write_opus(tmp_path / name, tone)
    assert (tmp_path / "first.ogg").read_bytes() == (tmp_path / "second.ogg").read_bytes()
    assert len(decoded(tmp_path / "first.ogg")) == RATE_HZ
