"""A session that is changed while it goes on."""

from __future__ import annotations

import pytest
from session_parts import FRAME, SAMPLES_A_BYTE, TALK, Here, WorldRecogniser, events, finals, through

from trunkline_hop.errors import BadRequest
from trunkline_speech.config import Preset, SessionConfig, Update
from trunkline_speech.events import Configured, SegmentFinal
from trunkline_speech.recogniser import Hearing


async def test_an_update_holds_from_the_audio_that_follows():
    here = Here(TALK)
    half = len(TALK.audio()) // 2
    async with here.sessions.start(SessionConfig()) as session:
        await session.feed(TALK.audio()[:half])
        await session.update(Update(language="es", hints=("lazy",), parameters=Preset.DICTATION.value))
        assert session.config.parameters == Preset.DICTATION.value
        said = await through(session, TALK.audio()[half:])
    configured = events(said, Configured)
    assert [each.config.options.language for each in configured] == ["", "es"]
    assert abs(configured[1].position - half * SAMPLES_A_BYTE) <= FRAME
    for _, end, hearing in here.recogniser.heard:
        assert hearing.language == ("es" if end > configured[1].position else hearing.language)
    assert here.recogniser.heard[-1][2] == Hearing(
        "es", hints=("lazy",), due=here.recogniser.heard[-1][2].due
    )


async def test_another_language_ends_the_segment_and_may_bring_another_recogniser():
    other = WorldRecogniser(TALK, name="models/other/versions/1", languages=("fr",), language="fr")
    here = Here(TALK, others=[other])
    cut = TALK.words[3].start // SAMPLES_A_BYTE
    async with here.sessions.start(SessionConfig()) as session:
        await session.feed(TALK.audio()[:cut])
        await session.update(Update(language="fr"))
        assert here.leases == 2
        said = await through(session, TALK.audio()[cut:])
        assert here.leases == 1
    assert here.leases == 0
    first, second = events(said, SegmentFinal)[:2]
    assert (first.segment.language, second.segment.language) == ("en", "fr")
    assert second.segment.words[-1].text == "over"
    assert {each.model_version for each in said} == {"models/test/versions/1", "models/other/versions/1"}


async def test_a_language_that_nobody_hears_is_refused_and_the_session_goes_on():
    here = Here(TALK)
    async with here.sessions.start(SessionConfig()) as session:
        with pytest.raises(BadRequest) as caught:
            await session.update(Update(language="xx"))
        assert caught.value.reason == "LANGUAGE_UNSUPPORTED"
        assert finals(await through(session, TALK.audio())) == finals(await Here(TALK).said())
