import pytest

from trunkline_phrases.amounts import Number
from trunkline_phrases.fillers import Style
from trunkline_phrases.lexicon import lexicon
from trunkline_phrases.patterns import Pattern, Slot
from trunkline_phrases.wordings import Phrase, Wording


def test_a_pattern_knows_its_slots():
    pattern = Pattern.parse("{thing.my.acc+colour} a {state~thing2} {thing|x|y|z}.")
    assert pattern.parts == (
        Slot("thing", ("my", "acc"), adjective="colour"),
        " a ",
        Slot("state", agrees="thing2"),
        " ",
        Slot("thing", choices=("x", "y", "z")),
        ".",
    )
    assert pattern.slots == ("thing", "colour", "state", "thing2")


@pytest.mark.parametrize(
    "text", ["{", "}", "{Thing}", "{thing.}", "{thing!}", "a {} b", "{{thing}}", "{thing"]
)
def test_braces_that_are_no_slot_are_refused(text):
    with pytest.raises(ValueError, match="brace"):
        Pattern.parse(text)


def test_an_adjective_goes_into_nouns_only():
    pattern = Pattern.parse("{number+colour}")
    with pytest.raises(ValueError, match="not a noun with an adjective"):
        pattern.say(Style("en"), {"number": Number(1), "colour": lexicon()["colour"].members[0]})


def test_a_wording_needs_both_ways_of_addressing():
    with pytest.raises(ValueError, match="formal and informal"):
        Wording.of({"formal": "Sie"})
    assert Wording.of("wir") == Wording(Pattern.parse("wir"), Pattern.parse("wir"))


@pytest.mark.parametrize("entry", ["text", {"en": "a"}, {"en": "a", "es": "b", "de": 3, "fr": "d"}])
def test_what_is_no_phrase_is_refused(entry):
    with pytest.raises(ValueError, match=r"needed|phrase"):
        Phrase.of("key", entry)


def test_a_phrase_says_its_plain_form_where_it_lacks_another():
    phrase = Phrase.of("key", {"en": "a", "es": "b", "de": {"dat": "c"}, "fr": {"": "d", "of": "e"}})
    assert phrase.wording("en", ("dat",)) == Wording.of("a")
    assert phrase.wording("de", ("dat",)) == Wording.of("c")
    assert phrase.wording("fr") == Wording.of("d")
    with pytest.raises(KeyError):
        phrase.wording("de", ("zu",))
