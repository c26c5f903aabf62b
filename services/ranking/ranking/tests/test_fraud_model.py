import numpy as np
import pytest
from onnx import TensorProto

from trunkline_hop.errors import NotAllowed
from trunkline_ranking.fraud_model import FraudLoader, OutputError


def test_a_model_gives_one_probability_a_row(local):
    loader = FraudLoader()
    model = loader.load(local())
    loader.warm(model)
    probabilities = model.probabilities(np.array([[0.0, 0.0, 0.0], [1e300, 0.0, 0.0]]))
    assert probabilities.tolist() == [0.5, 1.0]
    assert loader.size_bytes(model) > 0


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"signature": None}, "no signature.json"),
        ({"signature": b"{"}, "no JSON"),
        ({"model": b"no graph"}, "ONNX Runtime does not take"),
        ({"input": "x"}, "expected features"),
        ({"output": "y"}, "expected probability"),
        ({"columns": 4}, "4\\], but signature.json names 3"),
        ({"shape": [1, 3]}, "shape"),
        ({"shape": ["N", "M"]}, "shape"),
        ({"type": TensorProto.DOUBLE}, "ONNX Runtime does not take|expected features"),
        ({"opset": 99}, "[Oo]pset"),
        ({"function": "NoSuchOperator"}, "ONNX Runtime does not take"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_reason(local, change, why):
    with pytest.raises(NotAllowed, match=why) as refusal:
        FraudLoader().load(local(**change))
    assert refusal.value.reason == "MODEL_REFUSED"


def test_a_model_whose_scores_are_no_probabilities_does_not_get_through_its_warm_up(local):
    loader = FraudLoader()
    model = loader.load(local(function="Neg"))
    with pytest.raises(OutputError):
        loader.warm(model)
    with pytest.raises(OutputError):
        loader.load(local(function="Log")).probabilities(np.array([[-5.0, 0.0, 0.0]]))
