import numpy as np
import pytest
from onnx import TensorProto

from trunkline_hop.errors import NotAllowed
from trunkline_ranking.graph import OutputError
from trunkline_ranking.model import ModelLoader


def test_a_model_gives_one_probability_a_row(local):
    loader = ModelLoader()
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
        (
            {"signature": {"task": "score_song"}},
            "task is 'score_song'; ranking knows score_transaction, recommend",
        ),
        ({"signature": {"task": "recommend"}}, "no item_tower.onnx and no items.json"),
        ({"input": "x"}, r"takes x: float32 \[N, 3\]; expected features: float32 \[N, 3\]"),
        ({"output": "y"}, r"gives y: float32 \[N\]; expected probability: float32 \[N\]"),
        ({"columns": 4}, r"takes features: float32 \[N, 4\]; expected features: float32 \[N, 3\]"),
        ({"shape": [1, 3]}, r"takes features: float32 \[1, 3\]; expected"),
        ({"shape": ["N", "M"]}, r"takes features: float32 \[N, M\]; expected"),
        ({"type": TensorProto.DOUBLE}, "ONNX Runtime does not take|expected features"),
        ({"opset": 99}, "[Oo]pset"),
        ({"function": "NoSuchOperator"}, "ONNX Runtime does not take"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_reason(local, change, why):
    with pytest.raises(NotAllowed, match=why) as refusal:
        ModelLoader().load(local(**change))
    assert refusal.value.reason == "MODEL_REFUSED"


def test_a_model_whose_scores_are_no_probabilities_does_not_get_through_its_warm_up(local):
    loader = ModelLoader()
    model = loader.load(local(function="Neg"))
    with pytest.raises(OutputError):
        loader.warm(model)
    with pytest.raises(OutputError):
        loader.load(local(function="Log")).probabilities(np.array([[-5.0, 0.0, 0.0]]))
