import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from voices import HIGH, LOW

from trunkline_hop.errors import NotAllowed
from trunkline_modelstore import LocalVersion
from trunkline_speech.sherpa_embedding import SpeakerLoader
from trunkline_speech.speakers import Diarizer

NAME, DIGEST = "models/voices/versions/1", "0" * 64
METADATA = {
    "framework": "wespeaker",
    "language": "English",
    "output_dim": "32",
    "sample_rate": "16000",
    "normalize_samples": "1",
}
SIGNATURE = '{"task": "embed_speaker", "threshold": 0.05}'


def graph(features=80, dimension=32):
    """Mean and deviation of each band over time, through a random rotation: as its kind, without what it learnt."""
    rotation = np.linalg.qr(np.random.default_rng(3).standard_normal((2 * features, 2 * features)))[0]
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["mean"], axes=[1], keepdims=1),
        helper.make_node("Sub", ["x", "mean"], ["apart"]),
        helper.make_node("Mul", ["apart", "apart"], ["squares"]),
        helper.make_node("ReduceMean", ["squares"], ["variance"], axes=[1], keepdims=0),
        helper.make_node("Sqrt", ["variance"], ["deviation"]),
        helper.make_node("Squeeze", ["mean", "time"], ["flat"]),
        helper.make_node("Concat", ["flat", "deviation"], ["statistics"], axis=1),
        helper.make_node("MatMul", ["statistics", "rotation"], ["embedding"]),
    ]
    constants = [
        numpy_helper.from_array(rotation[:, :dimension].astype(np.float32), "rotation"),
        numpy_helper.from_array(np.array([1]), "time"),
    ]
    made = helper.make_graph(
        nodes,
        "voices",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", "T", features])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["N", dimension])],
        constants,
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


@pytest.fixture
def version(tmp_path):
    def make(metadata=METADATA, signature=SIGNATURE, model=None):
        model = model or graph()
        helper.set_model_props(model, metadata)
        onnx.save(model, tmp_path / "model.onnx")
        (tmp_path / "signature.json").write_text(signature)
        files = {name: tmp_path / name for name in ("model.onnx", "signature.json")}
        return LocalVersion(NAME, DIGEST, tmp_path, files, 1)

    return make


async def test_a_session_tells_speakers_apart_by_a_network_of_the_registry(version):
    loader = SpeakerLoader()
    embedding = loader.load(version())
    loader.warm(embedding)
    assert loader.size_bytes(embedding) == version().files["model.onnx"].stat().st_size
    vectors = embedding.embed([LOW.says(3.0, 1), LOW.says(3.0, 2), HIGH.says(3.0, 3)])
    apart = embedding.distances(vectors, vectors)
    assert apart[0, 1] < apart[0, 2]
    diarizer = Diarizer(embedding, 2)
    assert Diarizer.restored(embedding, diarizer.state()).state() == diarizer.state()


def test_a_vector_is_as_long_as_its_piece_and_a_sum_points_between(version):
    embedding = SpeakerLoader().load(version())
    vectors = embedding.embed([LOW.says(3.0), HIGH.says(1.0)])
    assert np.linalg.norm(vectors, axis=1) == pytest.approx([3.0, 1.0], rel=1e-4)
    (to_low, to_high) = embedding.distances(embedding.pool(vectors)[None], vectors)[0]
    assert to_low < to_high


def test_scraps_and_silence_have_a_finite_vector(version):
    embedding = SpeakerLoader().load(version())
    vectors = embedding.embed([np.zeros(9000, np.float32), LOW.says(0.001), LOW.says(0.0)])
    assert np.isfinite(vectors).all()
    assert np.isfinite(embedding.distances(vectors, vectors)).all()
    assert embedding.embed([]).shape == (0, 32)


@pytest.mark.parametrize("key", METADATA)
def test_a_graph_without_metadata_is_refused(version, key):
    with pytest.raises(NotAllowed, match=key) as refusal:
        SpeakerLoader().load(version({name: value for name, value in METADATA.items() if name != key}))
    assert refusal.value.reason == "MODEL_REFUSED"


@pytest.mark.parametrize(
    ("key", "value", "why"),
    [
        ("framework", "nemo", "comes from nemo"),
        ("sample_rate", "8000", "8000 samples a second"),
        ("output_dim", "64", r"answers with \[1, 32\]"),
        ("output_dim", "many", "no numbers"),
        ("normalize_samples", "", "no numbers"),
        ("feature_normalize_type", "odd", "normalised"),
    ],
)
def test_a_graph_that_sherpa_would_end_the_process_over_is_refused(version, key, value, why):
    with pytest.raises(NotAllowed, match=why):
        SpeakerLoader().load(version({**METADATA, key: value}))


def test_a_graph_of_other_features_is_refused(version):
    with pytest.raises(NotAllowed, match="does not take"):
        SpeakerLoader().load(version(model=graph(features=40)))


def test_a_damaged_graph_is_refused(version):
    found = version()
    graph_file = found.files["model.onnx"]
    graph_file.write_bytes(graph_file.read_bytes()[:500])
    with pytest.raises(NotAllowed, match="no graph"):
        SpeakerLoader().load(found)


@pytest.mark.parametrize(
    ("signature", "why"),
    [
        ("", "names no task"),
        ("[]", "names no task"),
        ('{"task": "embed_speaker"}', "names no task"),
        ('{"task": "transcribe", "threshold": 0.5}', "transcribe"),
        ('{"task": "embed_speaker", "threshold": 0}', "between 0 and 2"),
        ('{"task": "embed_speaker", "threshold": true}', "between 0 and 2"),
        ('{"task": "embed_speaker", "threshold": "0.5"}', "between 0 and 2"),
    ],
)
def test_a_signature_that_makes_no_sense_is_refused(version, signature, why):
    with pytest.raises(NotAllowed, match=why):
        SpeakerLoader().load(version(signature=signature))


@pytest.mark.parametrize("name", ["model.onnx", "signature.json"])
def test_a_version_without_a_file_is_refused(version, name):
    found = version()
    files = {path: where for path, where in found.files.items() if path != name}
    with pytest.raises(NotAllowed, match=name):
        SpeakerLoader().load(LocalVersion(NAME, DIGEST, found.directory, files, 1))


def test_without_the_extra_the_model_is_refused_and_says_what_to_install(version, monkeypatch):
    monkeypatch.setitem(sys.modules, "sherpa_onnx", None)
    with pytest.raises(NotAllowed, match=r"trunkline-speech\[sherpa\]"):
        SpeakerLoader().load(version())


def test_the_service_needs_the_extra_only_when_such_a_model_is_loaded():
    code = "import sys, trunkline_speech.sherpa_embedding; sys.exit('sherpa_onnx' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
