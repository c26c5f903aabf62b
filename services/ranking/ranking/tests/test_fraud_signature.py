import pytest

from trunkline_ranking.fraud_signature import parse
from trunkline_ranking.signature import SignatureError, read


def test_a_signature_says_what_columns_mean(signature):
    parsed = parse(signature)
    assert parsed.inputs == tuple(signature["inputs"])
    assert parsed.query.names == ("customer_activity:count_1d", "terminal_activity:risk_1d")
    assert parsed.entity_types == ("customer", "terminal")
    assert (parsed.review, parsed.decline) == (0.5, 0.75)


def test_the_signature_that_ships_is_one(artifact):
    assert len(parse(read(artifact["signature.json"])).inputs) == 18


def test_only_entities_that_a_model_needs_are_asked_for(signature):
    signature["inputs"] = ["request:amount", "terminal_activity:risk_1d"]
    del signature["defaults"]["customer_activity:count_1d"]
    del signature["entity_types"]["customer_activity"]
    assert parse(signature).entity_types == ("terminal",)


def test_a_view_is_about_what_the_signature_says(signature):
    signature["entity_types"]["customer_activity"] = "terminal"
    assert parse(signature).entity_types == ("terminal",)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"more": 1}, "does not name exactly"),
        ({"inputs": []}, "list of names"),
        ({"inputs": "request:amount"}, "list of names"),
        ({"inputs": ["request:amount", "request:amount"]}, "a name twice"),
        ({"inputs": ["request:mood"]}, "request:mood"),
        ({"inputs": ["amount"]}, "no feature"),
        ({"inputs": ["Customer:X"]}, "no feature"),
        ({"inputs": ["merchant_activity:x"]}, "entity_types does not name exactly merchant_activity"),
        ({"entity_types": {"customer_activity": "customer"}}, "entity_types does not name exactly"),
        (
            {"entity_types": {"customer_activity": "customer", "terminal_activity": "merchant"}},
            "terminal_activity is 'merchant'; a transaction has customer, terminal",
        ),
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
        parse(signature | change)


@pytest.mark.parametrize("document", [b"", b"[]", b"7", b"\xff", b"{}", b'{"task": 1}'])
def test_what_is_no_signature_is_none(document):
    with pytest.raises(SignatureError):
        read(document)
