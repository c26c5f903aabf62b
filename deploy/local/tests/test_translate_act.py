"""The act of translation against services that hear what the manifest says and translate it, or something else."""

import io
from dataclasses import dataclass, replace

import pytest
from rich.console import Console
from scripted_speech import BEGINNING, Said
from scripted_translate import translating

from trunkline.speech.v1 import speech_pb2 as sp
from trunkline.translate.v1 import translate_pb2 as pb
from trunkline_hop.errors import Unavailable
from trunkline_local.acts import translate as act
from trunkline_local.acts.translate import BEHIND, BETTER, TranslateAct, check_killed, check_whole
from trunkline_local.demo import ActFailed, Stage, acts
from trunkline_local.state import DataDirectory, Health, ProcessState, SuiteState
from trunkline_local.transcribe_audio import Recording
from trunkline_whisper_micro import samples

CONVERSATIONS = [sample for sample in samples.load() if len(sample.sentences) > 1]

(ENGLISH,) = [sample for sample in CONVERSATIONS if sample.language == "en"]
(SPANISH,) = [sample for sample in CONVERSATIONS if sample.language == "es"]


@dataclass
class ScriptedEngine:
    """The better engine: whether the scripted service has it."""

    service: object
    pid: int = 4711
    started: int = 0

    def start(self):
        self.service.vllm = True
        self.started += 1

    async def kill(self):
        self.service.vllm = False
        self.service.killed.set()


@pytest.fixture
async def translation(speech):
    """A translation service beside that of speech, behind one gateway."""
    async with translating(speech.target) as service:
        service.vllm, service.dies_in = False, ENGLISH.sentences[act.KILLED_IN - 1].text
        yield service


@pytest.fixture
def stage(speech, translation, tmp_path, monkeypatch):
    """The recogniser knows the conversations, which are over at once."""
    monkeypatch.setattr(act, "SPEED", 40.0)
    for sample in CONVERSATIONS:
        pcm = b"".join(Recording(sample.path).pcm(0.1))
        speech.known[pcm[:BEGINNING]] = [
            Said(sentence.text, sentence.words[0].start_s, sentence.words[-1].end_s)
            for sentence in sample.sentences
        ]
    data = DataDirectory(tmp_path)
    processes = [ProcessState(name=name, health=Health.SERVING, pid=1) for name in ("speech", "translate")]
    data.write(SuiteState(pid=1, started=0.0, gateway=translation.target, processes=processes))
    return Stage(Console(file=io.StringIO(), width=200), translation.target, data, 1)


async def play(stage, translation):
    engine = ScriptedEngine(translation)
    await TranslateAct(lambda _: engine).play(stage)
    return engine


async def test_what_is_said_is_translated_while_it_is_said_and_a_kill_loses_nothing(stage, translation):
    engine = await play(stage, translation)
    shown = stage.console.file.getvalue()
    for sample in CONVERSATIONS:
        for sentence in sample.sentences:
            assert sentence.text in shown
            assert sentence.text.upper() in shown
    assert "kill -9 4711 (the engine) in the middle of a sentence" in shown
    assert "revision 2 begins the sentence anew" in shown
    (begun_anew,) = [line for line in shown.splitlines() if "openvino (fallback)" in line]
    assert ENGLISH.sentences[act.KILLED_IN - 1].text.upper() in begun_anew
    assert "was started again and is up" in shown
    assert shown.rstrip().endswith("vllm")
    assert engine.started == 2
    assert not translation.vllm  # killed in the end: it is the demo's own


async def test_segments_go_with_their_ids_and_languages_and_where_a_turn_ends_a_sentence_does(
    stage, translation
):
    await play(stage, translation)
    sent = [request.segment for request in translation.requests if request.HasField("segment")]
    assert {segment.segment_id for segment in sent} == {str(number) for number in range(1, 8)}
    assert {segment.language_code for segment in sent} == {"en"}  # the scripted recogniser knows no other
    assert any(request.HasField("flush") for request in translation.requests)
    assert [config.options.target_language_code for config in translation.configs] == ["en", "es"]
    assert {config.options.source_language_code for config in translation.configs} == {""}


async def test_an_engine_that_does_not_come_back_ends_it_with_the_reason(stage, translation, monkeypatch):
    monkeypatch.setattr(act, "UP_TIMEOUT_S", 0.2)
    engine = ScriptedEngine(translation)
    engine.start = lambda: None
    with pytest.raises(ActFailed, match=r"is not up after 0\.2 s: .*start it"):
        await TranslateAct(lambda _: engine).play(stage)


async def test_a_sentence_that_fails_ends_it(stage, translation):
    translation.fails = {SPANISH.sentences[1].text: Unavailable("NO_ENGINE", "x")}
    with pytest.raises(ActFailed, match="was not translated: no engine is up"):
        await play(stage, translation)


async def test_another_language_than_was_asked_for_ends_it(stage, translation):
    translation.detects = "fr"
    with pytest.raises(ActFailed, match="into en is taken for fr"):
        await play(stage, translation)


async def test_a_service_that_is_not_there_ends_it_with_its_reason(stage, translation):
    with pytest.raises(ActFailed, match="UNAVAILABLE"):
        await play(replace(stage, gateway="127.0.0.1:1"), translation)


@pytest.mark.parametrize("missing", ["speech", "translate"])
async def test_a_suite_without_one_of_them_says_so_and_goes_on(stage, missing):
    state = stage.data.read()
    left = [process for process in state.processes if process.name != missing]
    stage.data.write(state.model_copy(update={"processes": left, "left_out": [f"{missing} is left out"]}))
    await TranslateAct().play(stage)
    assert stage.console.file.getvalue() == f"{missing} is left out\n"


def sentence(number, text="A", engine=BETTER, revision=1, lacks=()):
    provenance = pb.Provenance(engine=engine, degradations=lacks)
    return pb.Sentence(
        sentence_id=number, source_text=text.lower(), text=text, revision=revision, provenance=provenance
    )


HEARD = [sp.Segment(text="a"), sp.Segment(text="b")]
WHOLE = [sentence(1, "A"), sentence(2, "B")]
DRAFTS = {(1, 1): "A", (2, 1): "B"}


def test_what_was_translated_once_and_in_pieces_that_fit_is_whole():
    check_whole(HEARD, WHOLE, DRAFTS)


@pytest.mark.parametrize(
    ("heard", "sentences", "drafts", "what"),
    [
        (HEARD, WHOLE[:1], DRAFTS, "is not what was translated"),
        (HEARD, [WHOLE[0], WHOLE[0]], DRAFTS, "each once"),
        (HEARD, WHOLE, DRAFTS | {(2, 1): "C"}, "the pieces of"),
        ([], [], {}, "what was heard"),
    ],
)
def test_what_is_lost_or_doubled_or_does_not_fit_is_found(heard, sentences, drafts, what):
    with pytest.raises(ActFailed, match=what):
        check_whole(heard, sentences, drafts)


KILLED = [sentence(1), sentence(2), sentence(3, engine=BEHIND, revision=2, lacks=["fallback_engine"])]


def test_a_kill_is_seen_in_the_sentence_it_came_in():
    check_killed(KILLED)


@pytest.mark.parametrize(
    ("sentences", "what"),
    [
        (KILLED[:2], "nothing was killed"),
        ([sentence(1, engine=BEHIND), *KILLED[1:]], "was up, and openvino translated"),
        ([*KILLED[:2], sentence(3)], "did not begin anew"),
        ([*KILLED[:2], sentence(3, engine=BEHIND, revision=2)], "unlabelled"),
        ([*KILLED[:2], sentence(3, revision=2, lacks=["fallback_engine"])], "vllm translated"),
    ],
)
def test_a_kill_that_nobody_saw_or_told_is_found(sentences, what):
    with pytest.raises(ActFailed, match=what):
        check_killed(sentences)


def test_the_act_is_installed_behind_that_of_speech():
    assert [found.title.partition(":")[0] for found in acts()][:4] == [
        "fraud",
        "recommend",
        "speech",
        "translate",
    ]
