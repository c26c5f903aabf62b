import json

import numpy as np
import pytest
import recommender_parts as parts
from onnx import TensorProto
from safetensors.numpy import save

from trunkline_hop.errors import NotAllowed
from trunkline_ranking.graph import OutputError
from trunkline_ranking.history import encode
from trunkline_ranking.model import ModelLoader


def signature(**changes):
    return {"signature_json": json.dumps(parts.SIGNATURE | changes).encode()}


def without(key):
    return {"signature_json": json.dumps({k: v for k, v in parts.SIGNATURE.items() if k != key}).encode()}


def names(**changes):
    return {"items_json": json.dumps(parts.names(**changes)).encode()}


def item(**changes):
    items = parts.names()["items"]
    items[3] |= changes
    return names(items=items)


def tensors(**changes):
    return {"items_safetensors": save(parts.tensors(**changes))}


def broken(name, row=2, value=np.nan):
    tensor = parts.tensors()[name].copy()
    tensor[row, 0] = value
    return tensors(**{name: tensor})


def test_a_version_gives_vectors_and_probabilities(recommender):
    loader = ModelLoader()
    model = loader.load(recommender())
    loader.warm(model)
    features = np.zeros((1, 2), np.float32)
    history = encode(["b2", "b5"], np.array([5, 2, 0], np.float32), model.items.rows, parts.LENGTH)
    vector = model.embed(history, features)
    assert vector == pytest.approx(parts.expected_vector(["b2", "b5"], [5.0, 2.0]), rel=1e-5)
    rows = np.array([7, -1])
    nearness = model.nearness(vector, rows)
    assert nearness[0] == pytest.approx(parts.EMBEDDINGS[7] @ vector, rel=1e-5)
    assert np.isnan(nearness[1])
    scores = model.rank(features, vector, rows, nearness)
    assert scores.tolist() == pytest.approx(
        [parts.expected_score("b7", nearness[0]), parts.expected_score("new", 0.0)]
    )
    assert loader.size_bytes(model) > model.items.embeddings.nbytes
    loader.unload(model)


def test_vectors_may_be_halves(recommender):
    halves = parts.EMBEDDINGS.astype(np.float16)
    model = ModelLoader().load(recommender(**tensors(embeddings=halves)))
    assert model.items.embeddings.dtype == np.float32
    assert np.array_equal(model.items.embeddings[:-1], halves.astype(np.float32))


TWICE = parts.names()["items"]
TWICE[1] = TWICE[0]
WRONG_FILES = [
    ({"signature_json": None}, "no signature.json"),
    ({"ranker_onnx": None, "items_json": None}, "no items.json and no ranker.onnx"),
    ({"item_tower_onnx": None}, "no item_tower.onnx"),
    (without("popular_query"), "does not name exactly"),
    (signature(more=1), "does not name exactly"),
    (signature(index="Books"), "'Books' is no name of an index"),
    (signature(index="b" * 64), "no name of an index"),
    (signature(metric="cosine"), "metric is 'cosine'; ranking knows inner_product"),
    (signature(dimension=0), "dimension is no whole number from 1"),
    (signature(dimension=True), "dimension is no whole number"),
    (signature(candidates=1001), "candidates is no whole number from 1 to 1000"),
    (signature(entity_type="Reader"), "entity_type is no entity type"),
    (
        signature(history={"items": "h:b", "length": 3}),
        "history does not name exactly items, length, ratings",
    ),
    (
        signature(history={"items": "books", "ratings": "h:r", "length": 3}),
        "history.items names books, which is no feature",
    ),
    (
        signature(history={"items": "h:b", "ratings": "h:r", "length": 1.5}),
        "history.length is no whole number",
    ),
    (signature(features=[]), "features is no list of names"),
    (signature(features=["a:x", "a:x"]), "features has a name twice"),
    (signature(features=["count", "mean"]), "features names count, which is no feature"),
    (signature(defaults={"reader_activity:count": 0}), "defaults does not name exactly"),
    (signature(popular_query=[1.0, 0.0, 0.0]), "popular_query is no list of 4 numbers"),
    (signature(popular_query=[1.0, 0.0, 0.0, None]), "popular_query is no finite number"),
    (signature(dimension=5, popular_query=[0.0] * 5), r"embeddings has shape \[12, 4\], expected \[12, 5\]"),
    ({"items_json": b"{"}, "items.json is no JSON"),
    ({"items_json": b"[]"}, "items.json does not have exactly the keys"),
    (names(more=1), "items.json does not have exactly the keys"),
    (names(items=[]), "items is no list"),
    (names(items={}), "items is no list"),
    (item(id="two words"), "the ids without spaces"),
    (item(id=""), "the ids without spaces"),
    (item(id=7), "items is no list"),
    (item(attributes=[]), "items is no list"),
    (item(more=1), "items is no list"),
    (names(items=TWICE), "has an item twice"),
    (names(popular=[]), "popular is no list"),
    (names(popular=["b1", 7]), "popular is no list"),
    (names(popular=["b1", "b1"]), "popular has an id twice"),
    (names(popular=["b1", "gone"]), "popular names 'gone', which is none of its items"),
    ({"items_safetensors": b"no tensors"}, "items.safetensors cannot be read"),
    ({"items_safetensors": save({"embeddings": parts.EMBEDDINGS})}, "does not have exactly the tensors"),
    (tensors(embeddings=parts.EMBEDDINGS[:-1].copy()), r"embeddings has shape \[11, 4\], expected \[12, 4\]"),
    (tensors(features=np.zeros((11, 2), np.float32)), r"features has shape \[11, 2\], expected \[12, I\]"),
    (tensors(features=np.zeros((12,), np.float32)), "features has shape"),
    (tensors(features=np.zeros((12, 0), np.float32)), "features has shape"),
    (tensors(embeddings=parts.EMBEDDINGS.astype(np.float64)), "embeddings is float64, expected float32"),
    (broken("embeddings"), "embeddings has numbers that are not finite"),
    (broken("features", value=np.inf), "features has numbers that are not finite"),
    ({"user_tower_onnx": b"no graph"}, "ONNX Runtime does not take user_tower.onnx"),
    (
        {"user_tower_onnx": parts.user_tower(length=4)},
        r"user_tower.onnx takes history: int64 \[N, 4\].*; expected history: int64 \[N, 3\]",
    ),
    ({"user_tower_onnx": parts.user_tower(columns=3)}, r"features: float32 \[N, 3\]; expected .*\[N, 2\]"),
    ({"user_tower_onnx": parts.user_tower(rating=TensorProto.INT64)}, r"ratings: int64 \[N, 3\]"),
    ({"user_tower_onnx": parts.user_tower(dimension=5)}, r"gives embedding: float32 \[N, 5\]; expected"),
    ({"item_tower_onnx": b"no graph"}, "ONNX Runtime does not take item_tower.onnx"),
    (
        {"item_tower_onnx": parts.item_tower(dimension=5)},
        r"item_tower.onnx gives embedding: float32 \[N, 5\]",
    ),
    ({"item_tower_onnx": parts.item_tower(name="x")}, r"takes x: float32 \[N, 3\]; expected content"),
    (
        {"item_tower_onnx": parts.item_tower(columns="C")},
        r"takes content: float32 \[N, C\]; expected content",
    ),
    ({"ranker_onnx": b"no graph"}, "ONNX Runtime does not take ranker.onnx"),
    (
        {"ranker_onnx": parts.ranker(columns=3)},
        r"takes user: float32 \[1, 3\].*; expected user: float32 \[1, 2\]",
    ),
    ({"ranker_onnx": parts.ranker(item_columns=3)}, r"items: float32 \[N, 3\].*; expected .*\[N, 2\]"),
    (
        {"ranker_onnx": parts.ranker(output="probability")},
        r"gives probability: float32 \[N\]; expected score",
    ),
]


@pytest.mark.parametrize(("change", "why"), WRONG_FILES)
def test_what_does_not_fit_is_refused_with_the_reason(recommender, change, why):
    with pytest.raises(NotAllowed, match=why) as refusal:
        ModelLoader().load(recommender(**change))
    assert refusal.value.reason == "MODEL_REFUSED"


@pytest.mark.parametrize(
    "change", [{"ranker_onnx": parts.ranker(last="Neg")}, {"user_tower_onnx": parts.user_tower(unit=np.nan)}]
)
def test_a_model_that_answers_with_what_cannot_be_does_not_get_through_its_warm_up(recommender, change):
    loader = ModelLoader()
    model = loader.load(recommender(**change))
    with pytest.raises(OutputError):
        loader.warm(model)
