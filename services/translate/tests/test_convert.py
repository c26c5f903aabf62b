"""Messages become the service's own words and back, and what they cannot say is refused by name."""

from datetime import UTC, datetime

import pytest
from google.protobuf.duration_pb2 import Duration

from trunkline.translate.v1 import translate_pb2 as pb
from trunkline_hop.context import Priority as CallPriority
from trunkline_hop.errors import BadRequest, Unavailable
from trunkline_translate import conversation_events, convert
from trunkline_translate.chain import EngineState
from trunkline_translate.conversation_events import Said
from trunkline_translate.engine import FinishReason, Formality, Identity, Priority
from trunkline_translate.language import Direction
from trunkline_translate.texts import TextEvent, TranslatedSentence, TranslatedText
from trunkline_translate.translation import Options, Partial, Translated

MADE_BY = Identity("openvino", "models/m/versions/2", "d" * 64, "CPU")
TRANSLATED = Translated(
    "Hola.", "en", "es", 2, MADE_BY, FinishReason.LENGTH, 7, 3, True, ("fallback_engine",)
)


def test_what_is_absent_has_its_default():
    assert convert.options(pb.TranslationOptions(target_language_code="es")) == Options("es")
    config = convert.conversation(pb.ConverseConfig(options=pb.TranslationOptions(target_language_code="es")))
    assert (config.pause_s, config.longest, config.sentence_timeout_s) == (1.5, 400, 10.0)
    assert config.final_only is False


def test_options_say_what_the_message_said_and_a_region_is_ignored():
    message = pb.TranslationOptions(
        model="engines/vllm",
        source_language_code="en-GB",
        target_language_code="es-MX",
        formality=pb.FORMALITY_INFORMAL,
        glossary=[pb.GlossaryEntry(source="invoice", target="factura")],
        do_not_translate=["Trunkline"],
        max_output_tokens=40,
        on_failure=pb.ON_FAILURE_FAIL,
    )
    assert convert.options(message) == Options(
        target="es",
        source="en",
        model="engines/vllm",
        formality=Formality.INFORMAL,
        glossary=(("invoice", "factura"),),
        keep=("Trunkline",),
        max_tokens=40,
        restart=False,
    )


def test_a_language_is_not_translated_into_itself():
    message = pb.TranslationOptions(source_language_code="en-GB", target_language_code="en-US")
    with pytest.raises(BadRequest) as refused:
        convert.options(message)
    assert refused.value.violations[0].field == "options.target_language_code"
    with pytest.raises(BadRequest) as refused:
        convert.conversation(pb.ConverseConfig(options=message))
    assert refused.value.violations[0].field == "config.options.target_language_code"


@pytest.mark.parametrize("field", ["pause", "sentence_timeout"])
@pytest.mark.parametrize("seconds", [0, -1, 10**6, 10**12])
def test_a_duration_out_of_its_bounds_is_refused_by_name(field, seconds):
    message = pb.ConverseConfig(options=pb.TranslationOptions(target_language_code="es"))
    getattr(message, field).CopyFrom(Duration(seconds=seconds))
    with pytest.raises(BadRequest) as refused:
        convert.conversation(message)
    assert refused.value.violations[0].field == f"config.{field}"


def test_every_priority_of_a_call_is_one_of_a_sentence():
    assert [convert.priority(each) for each in CallPriority] == [
        Priority.BATCH,
        Priority.DEFAULT,
        Priority.INTERACTIVE,
    ]


def test_every_result_says_what_made_it():
    sentence = pb.Sentence(
        sentence_id=1,
        source_text="Hello.",
        text="Hola.",
        source_language_code="en",
        target_language_code="es",
        revision=2,
        provenance=pb.Provenance(
            engine="openvino",
            model_version="models/m/versions/2",
            digest="d" * 64,
            device="CPU",
            degradations=["fallback_engine"],
        ),
        finish_reason=pb.FINISH_REASON_LENGTH,
        prompt_tokens=7,
        completion_tokens=3,
        context_used=True,
    )
    whole = TranslatedText(" Hola.", (TranslatedSentence(1, " ", "Hello.", TRANSLATED),))
    assert convert.translation(whole) == pb.Translation(
        translated=pb.TranslatedText(text=" Hola.", sentences=[sentence])
    )
    assert convert.text_event(TextEvent(1, "", "Hello.", TRANSLATED)) == pb.StreamTranslateResponse(
        sentence=sentence
    )
    assert convert.said(
        Said(5, conversation_events.SentenceTranslated(1, "Hello.", TRANSLATED), ("a", "b"))
    ) == pb.ConverseResponse(sequence=5, text_ids=["a", "b"], sentence=sentence)


def test_a_text_that_failed_says_why():
    failed = Unavailable("NO_ENGINE", "no engine is up")
    assert convert.translation(failed).failure == pb.Failure(
        code="UNAVAILABLE", reason="NO_ENGINE", message="no engine is up"
    )


def test_every_event_of_a_conversation_has_its_message():
    expires = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    started = convert.said(Said(1, conversation_events.Started("s", "secret", True, expires))).started
    assert (started.session_id, started.resume_token, started.resumed) == ("s", "secret", True)
    assert started.expire_time.ToDatetime(UTC) == expires
    unkept = convert.said(Said(1, conversation_events.Started("s", "", False, None))).started
    assert not unkept.HasField("expire_time")
    delta = convert.said(Said(2, conversation_events.SentenceDelta(3, Partial(1, "Ho")))).delta
    assert delta == pb.Delta(sentence_id=3, revision=1, text="Ho")
    failed = conversation_events.SentenceFailed(3, "Hello.", "UNAVAILABLE", "NO_ENGINE", "none is up")
    assert convert.said(Said(3, failed)).sentence_failed == pb.SentenceFailed(
        sentence_id=3,
        source_text="Hello.",
        failure=pb.Failure(code="UNAVAILABLE", reason="NO_ENGINE", message="none is up"),
    )
    degraded = convert.said(Said(4, conversation_events.Degraded("session_not_kept", True, "why"))).degraded
    assert degraded == pb.Degraded(degradation="session_not_kept", active=True, message="why")
    assert convert.said(Said(5, conversation_events.Draining("secret"))).draining.resume_token == "secret"


class Known:
    """An engine, as far as a list needs one."""

    def __init__(self, name, *pairs):
        self.name = name
        self.directions = frozenset(Direction(*pair) for pair in pairs)

    def identity(self, model=""):
        return Identity(self.name, f"engines/{self.name}")


def test_pairs_are_listed_by_source_and_target_with_their_engines_in_order_of_preference():
    states = [
        EngineState(Known("vllm", ("en", "es"), ("en", "de")), False, "it is gone"),
        EngineState(Known("apertium", ("en", "es")), True, ""),
    ]
    gone = pb.PairEngine(engine="vllm", model_version="engines/vllm", error="it is gone")
    there = pb.PairEngine(engine="apertium", model_version="engines/apertium", ready=True)
    assert convert.pairs(states) == [
        pb.LanguagePair(source_language_code="en", target_language_code="de", engines=[gone]),
        pb.LanguagePair(source_language_code="en", target_language_code="es", engines=[gone, there]),
    ]
