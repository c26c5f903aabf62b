import json

import pytest

from trunkline_ranking.signature import SignatureError, parse


def test_a_signature_says_what_columns_mean(signature):
    parsed = parse(json.dumps(signature).encode())
    assert parsed.inputs == tuple(signature["inputs"])
    assert parsed.features == ("customer_activity:count_1d", "terminal_activity:risk_1d")
    assert parsed.entity_types == ("customer", "terminal")
    assert (parsed.review, parsed.decline) == (0.5, 0.75)


def test_the_signature_that_ships_is_one(artifact):
    assert len(parse(artifact["signature.json"]).inputs) == 18


def test_only_entities_that_a_model_needs_are_asked_for(signature):
    signature["inputs"] = ["request:amount", "terminal_activity:risk_1d"]
    del signature["defaults"]["customer_activity:count_1d"]
    assert parse(json.dumps(signature).encode()).entity_types == ("terminal",)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"more": 1}, "other keys"),
        ({"inputs": []}, "list of names"),
        ({"inputs": "request:amount"}, "list of names"),
        ({"inputs": ["request:amount", "request:amount"]}, "twice"),
        ({"inputs": ["request:mood"]}, "request:mood"),
        ({"inputs": ["amount"]}, "no feature"),
        ({"inputs": ["merchant_activity:x"]}, "about none of customer, terminal"),
        ({"defaults": {}}, "defaults does not name exactly"),
        (
            {"defaults": {"customer_activity:count_1d": 1, "terminal_activity:risk_1d": None}},
            "no finite number",
        ),
        (
            {"defaults": {"customer_activity:count_1d": 1, "terminal_activity:risk_1d": True}},
            "no finite number",
        ),
        (
            {"defaults": {"customer_activity:count_1d": 1, "terminal_activity:risk_1d": float("inf")}},
            "finite",
        ),
        ({"thresholds": {"review": 0.5}}, "thresholds does not name exactly"),
        ({"thresholds": {"review": 0.9, "decline": 0.1}}, "review <= decline"),
        ({"thresholds": {"review": 0.5, "decline": 1.5}}, "<= 1"),
    ],
)
def test_what_is_wrong_with_a_signature_is_said(signature, change, why):
    with pytest.raises(SignatureError, match=why):
        parse(json.dumps(signature | change).encode())


@pytest.mark.parametrize("document", [b"", b"[]", b"7", b"\xff"])
def test_what_is_no_signature_is_none(document):
    with pytest.raises(SignatureError):
        parse(document)
