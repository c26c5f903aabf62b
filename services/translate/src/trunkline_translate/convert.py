"""Between the contract's messages and the service's own words."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from types import MappingProxyType
from typing import Final

from google.protobuf.duration_pb2 import Duration

from trunkline.translate.v1 import translate_pb2 as pb
from trunkline_hop.context import Priority as CallPriority
from trunkline_hop.errors import BadRequest, Fault
from trunkline_translate.chain import EngineState
from trunkline_translate.conversation_events import (
    Degraded,
    Draining,
    Said,
    SentenceDelta,
    SentenceFailed,
    SentenceTranslated,
    Started,
)
from trunkline_translate.detect import Detected
from trunkline_translate.engine import FinishReason, Formality, Identity, Priority
from trunkline_translate.language import Direction, base
from trunkline_translate.snapshot import ConversationConfig
from trunkline_translate.texts import TextEvent, TranslatedText
from trunkline_translate.translation import Options, Partial, Translated

PAUSE_S: Final = (0.1, 1.5, 60.0)
"""Least, default and most seconds of a pause that ends a sentence."""
SENTENCE_TIMEOUT_S: Final = (0.1, 10.0, 120.0)
"""Least, default and most seconds for a sentence."""
LONGEST: Final = 400
"""Characters of a sentence, where nothing is said."""
MOST_LANGUAGES: Final = 3
"""That a text may be in."""

_FORMALITIES: Final = MappingProxyType(
    {
        pb.FORMALITY_UNSPECIFIED: None,
        pb.FORMALITY_FORMAL: Formality.FORMAL,
        pb.FORMALITY_INFORMAL: Formality.INFORMAL,
    }
)
_FINISHED: Final = MappingProxyType(
    {FinishReason.STOP: pb.FINISH_REASON_STOP, FinishReason.LENGTH: pb.FINISH_REASON_LENGTH}
)
_PRIORITIES: Final = MappingProxyType(
    {
        CallPriority.INTERACTIVE: Priority.INTERACTIVE,
        CallPriority.DEFAULT: Priority.DEFAULT,
        CallPriority.BATCH: Priority.BATCH,
    }
)


def options(message: pb.TranslationOptions, field: str = "options") -> Options:
    """How to translate.

    Args:
        message: as it came.
        field: its path in the request.

    Raises:
        BadRequest: both languages are the same.
    """
    source, target = base(message.source_language_code), base(message.target_language_code)
    if source == target:
        raise BadRequest.field(
            f"{field}.target_language_code", f"must be another language than {field}.source_language_code"
        )
    return Options(
        target=target,
        source=source,
        model=message.model,
        formality=_FORMALITIES[message.formality],
        glossary=tuple((entry.source, entry.target) for entry in message.glossary),
        keep=tuple(message.do_not_translate),
        max_tokens=message.max_output_tokens,
        restart=message.on_failure != pb.ON_FAILURE_FAIL,
    )


def priority(given: CallPriority) -> Priority:
    """How much the caller minds waiting."""
    return _PRIORITIES[given]


def sentence(number: int, source_text: str, translated: Translated) -> pb.Sentence:
    """A sentence and its translation."""
    return pb.Sentence(
        sentence_id=number,
        source_text=source_text,
        text=translated.text,
        source_language_code=translated.source,
        target_language_code=translated.target,
        revision=translated.revision,
        provenance=_provenance(translated.made_by, translated.degradations),
        finish_reason=_FINISHED[translated.finish_reason],
        prompt_tokens=translated.prompt_tokens,
        completion_tokens=translated.completion_tokens,
        context_used=translated.context_used,
    )


def _provenance(made_by: Identity, degradations: Iterable[str]) -> pb.Provenance:
    return pb.Provenance(
        engine=made_by.engine,
        model_version=made_by.model_version,
        digest=made_by.digest,
        device=made_by.device,
        degradations=degradations,
    )


def failure(fault: Fault) -> pb.Failure:
    """Why a text or sentence was not translated."""
    return pb.Failure(code=fault.status, reason=fault.reason, message=fault.message)


def translation(outcome: TranslatedText | Fault) -> pb.Translation:
    """What became of one text."""
    if isinstance(outcome, Fault):
        return pb.Translation(failure=failure(outcome))
    sentences = [sentence(each.sentence_id, each.source_text, each.translated) for each in outcome.sentences]
    return pb.Translation(translated=pb.TranslatedText(text=outcome.text, sentences=sentences))


def text_event(event: TextEvent) -> pb.StreamTranslateResponse:
    """Something about a sentence of a text."""
    if isinstance(event.outcome, Partial):
        return pb.StreamTranslateResponse(
            delta=_delta(event.sentence_id, event.outcome), separator=event.separator
        )
    return pb.StreamTranslateResponse(
        sentence=sentence(event.sentence_id, event.source_text, event.outcome), separator=event.separator
    )


def _delta(number: int, partial: Partial) -> pb.Delta:
    return pb.Delta(sentence_id=number, revision=partial.revision, text=partial.text)


def conversation(message: pb.ConverseConfig) -> ConversationConfig:
    """What a conversation is told first.

    Raises:
        BadRequest: a duration is out of its bounds, or as `options`.
    """
    return ConversationConfig(
        options=options(message.options, "config.options"),
        pause_s=_seconds(message.pause if message.HasField("pause") else None, "config.pause", PAUSE_S),
        longest=message.max_sentence_length or LONGEST,
        sentence_timeout_s=_seconds(
            message.sentence_timeout if message.HasField("sentence_timeout") else None,
            "config.sentence_timeout",
            SENTENCE_TIMEOUT_S,
        ),
        final_only=message.final_only,
    )


def _seconds(duration: Duration | None, field: str, bounds: tuple[float, float, float]) -> float:
    least, default, most = bounds
    if duration is None:
        return default
    # Read as it came: protobuf's own conversion refuses what is out of range without saying which field it was.
    seconds = duration.seconds + duration.nanos / 1e9
    if not least <= seconds <= most:
        raise BadRequest.field(field, f"must be {least:g} to {most:g} s")
    return seconds


def said(event: Said) -> pb.ConverseResponse:
    """What a conversation says."""
    response = pb.ConverseResponse(sequence=event.sequence, text_ids=event.text_ids)
    match event.event:
        case Started(session_id, resume_token, resumed, expires):
            response.started.session_id = session_id
            response.started.resume_token = resume_token
            response.started.resumed = resumed
            if expires is not None:
                response.started.expire_time.FromDatetime(expires)
        case SentenceDelta(number, partial):
            response.delta.CopyFrom(_delta(number, partial))
        case SentenceTranslated(number, source_text, translated):
            response.sentence.CopyFrom(sentence(number, source_text, translated))
        case SentenceFailed(number, source_text, code, reason, message):
            response.sentence_failed.CopyFrom(
                pb.SentenceFailed(
                    sentence_id=number,
                    source_text=source_text,
                    failure=pb.Failure(code=code, reason=reason, message=message),
                )
            )
        case Degraded(degradation, active, message):
            response.degraded.CopyFrom(pb.Degraded(degradation=degradation, active=active, message=message))
        case Draining(resume_token):
            response.draining.resume_token = resume_token
    return response


def detection(found: Iterable[Detected]) -> pb.Detection:
    """The languages that one text may be in."""
    return pb.Detection(
        languages=[
            pb.DetectedLanguage(language_code=each.code, confidence=each.confidence)
            for each in islice(found, MOST_LANGUAGES)
        ]
    )


def pairs(states: Iterable[EngineState]) -> list[pb.LanguagePair]:
    """What can be translated into what, and by which engine, by source and target."""
    by_direction: dict[Direction, list[pb.PairEngine]] = {}
    for state in states:
        engine = pb.PairEngine(
            engine=state.engine.name,
            model_version=state.engine.identity().model_version,
            ready=state.up,
            error=state.error,
        )
        for direction in state.engine.directions:
            by_direction.setdefault(direction, []).append(engine)
    return [
        pb.LanguagePair(
            source_language_code=direction.source, target_language_code=direction.target, engines=engines
        )
        for direction, engines in sorted(by_direction.items())
    ]
