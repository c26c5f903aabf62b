import random

import pytest

from trunkline_hop.errors import BadRequest, Unavailable
from trunkline_modelstore import Draining, ServingSet, Synced
from trunkline_modelstore.backoff import Backoff
from trunkline_modelstore.watch import Watch

MODEL = "models/fraud"


class Enough(Exception):
    pass


class Script:
    """A registry whose watches go as written: events to send, then an exception or the stream's end."""

    def __init__(self, *streams):
        self.streams = list(streams)
        self.tokens = []

    async def watch(self, models, resume_token):
        self.tokens.append(resume_token)
        if not self.streams:
            raise AssertionError("one watch too many")
        for step in self.streams.pop(0):
            if isinstance(step, Exception):
                raise step
            yield step


async def follow(script, pauses_allowed):
    """Events handed over, and pauses taken, until one pause more than allowed."""
    events, pauses = [], []

    async def sleep(seconds):
        if len(pauses) == pauses_allowed:
            raise Enough
        pauses.append(seconds)

    watch = Watch(script, [MODEL], Backoff(random=random.Random(1)), sleep)
    with pytest.raises(Enough):
        await watch.run(events.append)
    return events, pauses


def serving(token):
    return ServingSet(MODEL, (), token)


async def test_it_goes_on_from_the_last_event_after_whatever_breaks_it():
    down = Unavailable("UNREACHABLE", "down")
    script = Script([serving("a"), serving("b"), down], [down], [serving("c"), Synced("d")], [RuntimeError()])
    events, _ = await follow(script, 3)
    assert [event.resume_token for event in events] == ["a", "b", "c", "d"]
    assert script.tokens == ["", "b", "b", "d"]


async def test_a_draining_server_is_left_at_once_but_one_that_only_drains_is_not_hammered():
    script = Script([serving("a"), Draining("b")], [Draining("c")], [Draining("d")])
    events, pauses = await follow(script, 1)
    assert [event.resume_token for event in events] == ["a"]
    assert script.tokens == ["", "b", "c"]
    assert len(pauses) == 1


async def test_a_token_the_registry_does_not_know_is_given_up():
    script = Script([serving("a")], [BadRequest.field("resume_token", "one of mine")], [serving("z")])
    await follow(script, 2)
    assert script.tokens == ["", "a", ""]


async def test_pauses_grow_until_something_works():
    down = [Unavailable("UNREACHABLE", "down")]
    _, pauses = await follow(Script(*[down] * 5, [serving("a"), *down], down), 6)
    ceilings = [0.2, 0.4, 0.8, 1.6, 3.2, 0.2]
    assert all(ceiling / 2 <= pause <= ceiling for pause, ceiling in zip(pauses, ceilings, strict=True))
