"""The act of speech against a service that says what the manifest does, or something else."""

import io
from dataclasses import dataclass, replace

import pytest
from rich.console import Console
from scripted_speech import BEGINNING, RATE_HZ, Said, ScriptedSpeech, duration

from trunkline.speech.v1 import speech_pb2 as pb
from trunkline_local.acts import speech as act
from trunkline_local.acts.speech import SpeechAct, check_whole
from trunkline_local.demo import ActFailed, Stage, acts
from trunkline_local.state import DataDirectory, Health, ProcessState, SuiteState
from trunkline_local.transcribe_audio import Recording
from trunkline_whisper_micro import samples

SHIPPED = samples.load()
CONVERSATION = next(sample for sample in SHIPPED if len(sample.sentences) > 1)


def script(sample):
    return [
        Said(sentence.text, sentence.words[0].start_s, sentence.words[-1].end_s)
        for sentence in sample.sentences
    ]


def segments(sample):
    return [
        pb.Segment(
            segment_id=number,
            text=said.text,
            start_time=duration(round(said.start_s * RATE_HZ)),
            end_time=duration(round(said.end_s * RATE_HZ)),
        )
        for number, said in enumerate(script(sample), 1)
    ]


@dataclass(frozen=True)
class Stands(Stage):
    """A stage on which nothing runs but the scripted service: a kill breaks its streams."""

    service: ScriptedSpeech | None = None

    def kill(self, name):
        self.service.killed.set()
        return self.process(name)


@pytest.fixture
def stage(speech, tmp_path, monkeypatch):
    """The service knows all the recordings; the conversation is over at once."""
    monkeypatch.setattr(act, "SPEED", 40.0)
    for sample in SHIPPED:
        speech.known[sample.path.read_bytes()] = script(sample)
        pcm = b"".join(Recording(sample.path).pcm(0.1))
        speech.known[pcm[:BEGINNING]] = script(sample)
    data = DataDirectory(tmp_path)
    process = ProcessState(name="speech", health=Health.SERVING, pid=4711)
    data.write(SuiteState(pid=1, started=0.0, gateway=speech.target, processes=[process]))
    return Stands(Console(file=io.StringIO(), width=200), speech.target, data, service=speech)


async def test_what_is_said_is_shown_while_it_grows_and_a_kill_loses_nothing(stage):
    await SpeechAct().play(stage)
    shown = stage.console.file.getvalue()
    assert "18 word for word" in shown
    assert "partial results while it was spoken" in shown
    assert "kill -9 4711 (speech) in the middle of a sentence" in shown
    assert "taken up again by pid 4711" in shown
    for sentence in CONVERSATION.sentences:
        assert shown.count(f"  {sentence.text}\n") == 1
    assert "all 7 sentences are there, none twice" in shown
    assert stage.service.resumed == 1
    assert {config.options.language_code for config in stage.service.configs[:2]} == {""}


async def test_words_that_are_wrong_end_it(stage):
    for key, said in stage.service.known.items():
        stage.service.known[key] = [replace(one, text="something else was said here") for one in said]
    with pytest.raises(ActFailed, match="word error rate"):
        await SpeechAct().play(stage)


async def test_a_service_that_says_nothing_live_ends_it(stage):
    for key in stage.service.known:
        if len(key) == BEGINNING:
            stage.service.known[key] = []
    with pytest.raises(ActFailed, match="nothing was shown while it was spoken"):
        await SpeechAct().play(stage)


async def test_a_service_that_is_not_there_ends_it_with_its_reason(stage):
    with pytest.raises(ActFailed, match="UNAVAILABLE"):
        await SpeechAct().play(replace(stage, gateway="127.0.0.1:1"))


async def test_a_suite_without_speech_says_so_and_goes_on(stage):
    state = stage.data.read()
    stage.data.write(state.model_copy(update={"processes": [], "left_out": ["speech is left out: no model"]}))
    await SpeechAct().play(stage)
    assert stage.console.file.getvalue() == "speech is left out: no model\n"


def test_a_transcript_with_every_sentence_once_is_whole():
    check_whole(CONVERSATION, segments(CONVERSATION))


@pytest.mark.parametrize(
    ("spoil", "what"),
    [
        (lambda said: said[:2] + said[3:], "each once"),
        (lambda said: [*said[:3], said[2], *said[3:]], "each once"),
        (lambda said: said[:-1], "lost: "),
        (lambda said: [*said[:3], pb.Segment(segment_id=4, start_time=said[2].start_time)], "heard twice"),
    ],
)
def test_what_is_lost_or_said_twice_is_found(spoil, what):
    with pytest.raises(ActFailed, match=what):
        check_whole(CONVERSATION, spoil(segments(CONVERSATION)))


def test_the_act_is_installed_behind_the_others():
    assert [found.title.partition(":")[0] for found in acts()][:3] == ["fraud", "recommend", "speech"]
