"""Who hears a request."""

from __future__ import annotations

import numpy as np
import pytest
from recogniser_parts import Listener

from trunkline_hop.errors import BadRequest, Fault, NotFound, Unavailable
from trunkline_modelstore import faults
from trunkline_modelstore.lease import Lease
from trunkline_modelstore.residents import Resident
from trunkline_modelstore.status import State, Status
from trunkline_speech.choice import Listed, Recognisers
from trunkline_speech.config import Options
from trunkline_speech.recogniser import Device, Hearing, Task

SPHINX = "engines/pocketsphinx"
GONE = (Device("CPU", active=False, error="it failed twice in a row"),)


class Shelf:
    """Models by name, or the fault that a lease of one raises."""

    def __init__(self, models: dict[str, Listener | Fault]) -> None:
        self.models = models
        self.residents = {
            name: Resident((f"{name}/versions/1", "d"), model, 1)
            for name, model in models.items()
            if isinstance(model, Listener)
        }

    def lease(self, name):
        return Lease(self, name)

    def find(self, name):
        return self.residents.get(name.partition("/versions/")[0])

    async def obtain(self, name):
        fault = self.models.get(name)
        raise fault if isinstance(fault, Fault) else faults.unknown("MODEL_UNKNOWN", name)

    def take(self, resident):
        resident.leases += 1

    def give_back(self, resident):
        resident.leases -= 1

    def status(self):
        return [Status(f"{name}/versions/1", "d", *self.state(model)) for name, model in self.models.items()]

    def state(self, model):
        return (State.IN_FORCE, "", 7) if isinstance(model, Listener) else (State.REFUSED, model.message, 0)

    def ready(self):
        return len(self.residents) == len(self.models)

    @property
    def leases(self):
        return sum(resident.leases for resident in self.residents.values())


def recognisers(*engines: Listener, **models: Listener | Fault) -> tuple[Recognisers, Shelf]:
    shelf = Shelf({f"models/{name}": model for name, model in models.items()})
    return Recognisers(shelf, list(shelf.models), {engine.name: engine for engine in engines}), shelf


def sphinx() -> Listener:
    return Listener(SPHINX, engine="pocketsphinx")


async def heard(choice: Recognisers, **options: object):
    async with choice.lease(Options(**options)) as recogniser:
        return await recogniser.hear(np.zeros(1, np.float32), Hearing())


async def who(choice: Recognisers, **options: object) -> str:
    return (await heard(choice, **options)).hypothesis.text


BOTH = (Task.TRANSCRIBE, Task.TRANSLATE)


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({}, "english"),
        ({"language": "en"}, "english"),
        ({"language": "es"}, "spanish"),
        ({"language": "es", "task": Task.TRANSLATE}, "spanish"),
        ({"task": Task.TRANSLATE}, "spanish"),
        ({"model": "models/two"}, "spanish"),
        ({"model": "models/two/versions/1", "language": "es"}, "spanish"),
        ({"model": SPHINX}, SPHINX),
        ({"model": SPHINX, "language": "en"}, SPHINX),
    ],
)
async def test_the_first_that_has_language_and_task_or_the_one_that_is_named(options, name):
    choice, shelf = recognisers(
        sphinx(), one=Listener("english"), two=Listener("spanish", ("es", "fr"), BOTH)
    )
    found = await heard(choice, **options)
    assert found.hypothesis.text == name
    assert found.degradations == ()
    assert shelf.leases == 0


async def test_a_recogniser_is_held_as_long_as_the_block():
    choice, shelf = recognisers(one=Listener("english"))
    async with choice.lease(Options()):
        assert shelf.leases == 1
    with pytest.raises(RuntimeError):
        async with choice.lease(Options()):
            raise RuntimeError
    assert shelf.leases == 0


async def test_where_no_model_has_english_the_engine_is_no_stand_in():
    choice, _ = recognisers(sphinx(), one=Listener("spanish", ("es",)))
    found = await heard(choice, language="en")
    assert (found.hypothesis.text, found.degradations) == (SPHINX, ())


@pytest.mark.parametrize("options", [{}, {"language": "en"}])
@pytest.mark.parametrize("reason", ["loading", "refused", "device lost"])
async def test_the_engine_stands_in_for_a_model_that_is_not_there_and_says_so(options, reason):
    lost = Listener("english")
    lost.devices = GONE
    missing = {
        "loading": faults.loading("models/one"),
        "refused": faults.unknown("MODEL_UNKNOWN", "models/one"),
        "device lost": lost,
    }
    choice, shelf = recognisers(sphinx(), one=missing[reason])
    found = await heard(choice, **options)
    assert (found.hypothesis.text, found.degradations) == (SPHINX, ("fallback_engine",))
    assert shelf.leases == 0


async def test_a_model_that_is_not_there_is_no_reason_to_stand_in_for_one_that_is():
    choice, _ = recognisers(sphinx(), one=faults.loading("models/one"), two=Listener("english"))
    assert (await heard(choice)).degradations == ()


async def test_a_language_that_only_a_missing_model_could_have_is_not_there_yet():
    choice, _ = recognisers(sphinx(), one=faults.loading("models/one"))
    with pytest.raises(Unavailable, match="LOADING"):
        await who(choice, language="es")


@pytest.mark.parametrize("model", ["", "models/one", SPHINX])
async def test_a_language_that_nobody_has_is_refused_with_those_there_are(model):
    choice, shelf = recognisers(sphinx(), one=Listener("model", ("en", "es")))
    with pytest.raises(BadRequest, match="LANGUAGE_UNSUPPORTED") as refused:
        await who(choice, model=model, language="ja")
    assert refused.value.violations[0].field == "options.language_code"
    assert refused.value.metadata["languages"] == ("en" if model == SPHINX else "en,es")
    assert shelf.leases == 0


async def test_a_task_that_nobody_has_is_refused():
    choice, _ = recognisers(sphinx(), one=Listener("model", ("en", "es")))
    with pytest.raises(BadRequest, match="TASK_UNSUPPORTED") as refused:
        await who(choice, language="es", task=Task.TRANSLATE)
    assert refused.value.violations[0].field == "options.task"


async def test_without_models_and_engines_every_language_is_refused():
    choice, _ = recognisers()
    with pytest.raises(BadRequest, match="LANGUAGE_UNSUPPORTED"):
        await who(choice, language="en")
    with pytest.raises(BadRequest):
        await who(choice)


@pytest.mark.parametrize("name", ["models/other", "engines/other"])
async def test_a_name_that_nobody_has_is_not_found(name):
    choice, _ = recognisers(sphinx(), one=Listener("english"))
    with pytest.raises(NotFound, match="MODEL_UNKNOWN"):
        await who(choice, model=name)


async def test_a_model_that_is_named_has_no_stand_in():
    lost = Listener("english")
    lost.devices = GONE
    choice, shelf = recognisers(sphinx(), one=lost)
    with pytest.raises(Unavailable, match="DEVICE_LOST"):
        await who(choice, model="models/one")
    assert shelf.leases == 0


def test_all_there_is_is_listed_by_name_with_what_is_known():
    model = Listener("models/two/versions/1", ("es",))
    choice, _ = recognisers(sphinx(), two=model, one=faults.unknown("MODEL_UNKNOWN", "models/one"))
    engine, refused, loaded = choice.listing()
    assert (engine.name, engine.state, engine.engine) == (SPHINX, State.READY, "pocketsphinx")
    assert refused == Listed("models/one/versions/1", "d", State.REFUSED, "no model models/one here")
    assert loaded == Listed(
        "models/two/versions/1",
        "d",
        State.IN_FORCE,
        "",
        "openvino",
        model.devices,
        ("es",),
        7,
        model.window,
        True,
        (Task.TRANSCRIBE,),
    )


def test_it_is_ready_when_every_model_is_there_and_has_a_device():
    lost = Listener("english")
    choice, _ = recognisers(sphinx(), one=lost)
    assert choice.ready()
    lost.devices = GONE
    assert not choice.ready()
    assert not recognisers(sphinx(), one=faults.loading("models/one"))[0].ready()
    assert recognisers(sphinx())[0].ready()
