"""The trained network as INT8 OpenVINO IR, as `openvino_genai.WhisperPipeline` wants it.

One set of versions does this (environment.txt, environment-exporter.txt). The exporter traces whole windows
of 30 s unless its default shape is changed before its modules are loaded, so this module does that first.
"""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import nncf
import openvino
from optimum.utils.input_generators import DEFAULT_DUMMY_SHAPES
from transformers import AddedToken, WhisperFeatureExtractor, WhisperTokenizer

from trunkline_phrases import Language
from trunkline_whisper_micro import artifact
from trunkline_whisper_micro.mel import BANDS
from trunkline_whisper_micro.model import TARGET, Recogniser, generation
from trunkline_whisper_micro.noises import RATE_HZ
from trunkline_whisper_micro.tokens import Tokens

_GRAPHS: Final = ("openvino_encoder_model", "openvino_decoder_model")
_FRAMES_A_SECOND: Final = 100


def export(model: Recogniser, tokens: Tokens, alignment_heads: list[list[int]], place: Path) -> None:
    """Writes the version's files into a directory: encoder, decoder, tokenizer, detokenizer, configurations."""
    torch_place = place / "torch"
    torch_place.mkdir(parents=True, exist_ok=True)
    whisper: Any = model.whisper
    whisper.generation_config = generation(tokens, alignment_heads)
    whisper.save_pretrained(torch_place)
    _feature_extractor(tokens).save_pretrained(torch_place)
    hugging_face(tokens).save_pretrained(torch_place)

    DEFAULT_DUMMY_SHAPES["nb_max_frames"] = round(tokens.window_s * _FRAMES_A_SECOND)
    from optimum.exporters.openvino import main_export

    full = place / "full"
    main_export(
        str(torch_place),
        full,
        task="automatic-speech-recognition-with-past",
        convert_tokenizer=True,
        local_files_only=True,
    )
    for path in full.iterdir():
        if path.name in artifact.VERSION_FILES and not path.name.startswith(_GRAPHS):
            path.replace(place / path.name)
    for name in _GRAPHS:
        _compress(full / f"{name}.xml", place / f"{name}.xml")
    # The exporter leaves some ids out again.
    (place / "generation_config.json").write_text(
        json.dumps(json.loads((torch_place / "generation_config.json").read_text()), indent=2) + "\n"
    )
    shutil.rmtree(full)
    shutil.rmtree(torch_place)


def hugging_face(tokens: Tokens) -> WhisperTokenizer:
    """The vocabulary as transformers' tokenizer.

    Raises:
        ValueError: it numbers a token otherwise.
    """
    made = WhisperTokenizer(
        vocab=dict(tokens.vocabulary),
        merges=[tuple(pair) for pair in tokens.merges],
        model_max_length=TARGET,
        pad_token="<|endoftext|>",  # noqa: S106
    )
    stamps = [token for token, place in tokens.special.items() if place >= tokens.first_stamp]
    others = [token for token, place in tokens.special.items() if place < tokens.first_stamp]
    made.add_special_tokens({"additional_special_tokens": others[1:]})
    made.add_tokens([AddedToken(token, special=False, normalized=False) for token in stamps])
    for token, place in (*tokens.vocabulary.items(), *tokens.special.items()):
        if made.convert_tokens_to_ids(token) != place:
            raise ValueError(f"{token} became {made.convert_tokens_to_ids(token)}, not {place}")
    return made


def check_tokens(tokens: Tokens, texts: Sequence[tuple[Language, str]]) -> int:
    """How many texts were encoded alike by both tokenizers.

    Raises:
        ValueError: one was not.
    """
    theirs = hugging_face(tokens)
    for _, text in texts:
        ids = theirs(" " + text, add_special_tokens=False).input_ids
        if ids != tokens.encode(" " + text):
            raise ValueError(f"the tokenizers differ on {text!r}")
    return len(texts)


def _compress(source: Path, target: Path) -> None:
    """Weights to eight bits, with a scale and a zero a row; what is computed stays as it was."""
    graph = openvino.Core().read_model(source)
    openvino.save_model(nncf.compress_weights(graph, mode=nncf.CompressWeightsMode.INT8_ASYM), target)


def _feature_extractor(tokens: Tokens) -> WhisperFeatureExtractor:
    return WhisperFeatureExtractor(
        feature_size=BANDS,
        sampling_rate=RATE_HZ,
        hop_length=160,
        chunk_length=round(tokens.window_s),
        n_fft=400,
    )
