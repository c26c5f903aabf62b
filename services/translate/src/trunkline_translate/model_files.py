"""What the files of a translation model say of it, and whether they agree.

OpenVINO GenAI believes them: without an end of its own a translation has none, and a prompt beyond the model's
positions is nonsense. So they are read here first, without loading anything.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from trunkline_modelstore.trial import Refused
from trunkline_translate.chat_template import ChatTemplate, TemplateFailed
from trunkline_translate.facts import Facts
from trunkline_translate.language import Direction
from trunkline_translate.prompts import Style

SIGNATURE: Final = "signature.json"
TASK: Final = "translate"
GRAPHS: Final = ("openvino_model", "openvino_tokenizer", "openvino_detokenizer")
LOADED: Final = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    *(f"{graph}.{part}" for graph in GRAPHS for part in ("xml", "bin")),
)
"""Beside the signature, what a version must have."""
_MOST_PAIRS: Final = 10
_LEAST_PLACES: Final = 64


def read(directory: Path) -> Facts:
    """What the files say.

    Raises:
        Refused: a file is missing, malformed, or contradicts another.
        OSError: one cannot be read.
    """
    for name in (SIGNATURE, *LOADED):
        file = directory / name
        if not file.is_file():
            raise Refused(f"it has no {name}")
        if not file.stat().st_size:
            raise Refused(f"{name} is empty")
    signature = _object(directory, SIGNATURE)
    config = _object(directory, "config.json")
    if signature.get("task") != TASK:
        raise Refused(f"its task is {signature.get('task')!r}; this service serves {TASK}")
    try:
        ChatTemplate.read(directory)
    except TemplateFailed as failure:
        raise Refused(str(failure)) from failure
    vocabulary = _whole("config.json", config, "vocab_size")
    heads = _whole("config.json", config, "num_attention_heads")
    head = _given(config, "head_dim") or _whole("config.json", config, "hidden_size") // heads
    kept_heads = _given(config, "num_key_value_heads") or heads
    return Facts(
        directions=_directions(signature),
        style=_style(signature),
        context_pairs=_pairs(signature),
        places=_places(signature, config),
        vocabulary=vocabulary,
        ends=_ends(_object(directory, "generation_config.json"), vocabulary),
        token_values=2 * _whole("config.json", config, "num_hidden_layers") * kept_heads * head,
        files_bytes=sum((directory / name).stat().st_size for name in LOADED),
    )


def _object(directory: Path, name: str) -> dict[str, Any]:
    try:
        value = json.loads((directory / name).read_bytes())
    except ValueError as error:
        raise Refused(f"{name} is no JSON") from error
    if not isinstance(value, dict):
        raise Refused(f"{name} is no JSON object")
    return value


def _directions(signature: Mapping[str, Any]) -> tuple[Direction, ...]:
    languages = signature.get("languages")
    if not isinstance(languages, list) or not all(_is_code(each) for each in languages):
        raise Refused(f"{SIGNATURE}: languages is no list of ISO 639-1 codes")
    pairs = signature.get("pairs")
    if not isinstance(pairs, list) or not pairs:
        raise Refused(f"{SIGNATURE}: pairs is no list, or empty")
    found: dict[Direction, None] = {}
    for pair in pairs:
        if not isinstance(pair, list) or len(pair) != 2 or not all(each in languages for each in pair):
            raise Refused(f"{SIGNATURE}: {pair!r} is no pair of its languages")
        if pair[0] == pair[1]:
            raise Refused(f"{SIGNATURE}: {pair!r} is one language")
        found[Direction(*pair)] = None
    return tuple(found)


def _style(signature: Mapping[str, Any]) -> Style:
    known = {style.value: style for style in Style}
    style = signature.get("prompt")
    if not isinstance(style, str) or style not in known:
        raise Refused(f"{SIGNATURE}: prompt is {style!r}; there is {', '.join(known)}")
    return known[style]


def _pairs(signature: Mapping[str, Any]) -> int:
    pairs: Any = signature.get("context_pairs")
    if not _is_whole(pairs) or not 0 <= pairs <= _MOST_PAIRS:
        raise Refused(f"{SIGNATURE}: context_pairs is {pairs!r}, not 0 to {_MOST_PAIRS}")
    return int(pairs)


def _places(signature: Mapping[str, Any], config: Mapping[str, Any]) -> int:
    places = _whole(SIGNATURE, signature, "max_tokens")
    positions = _whole("config.json", config, "max_position_embeddings")
    if not _LEAST_PLACES <= places <= positions:
        raise Refused(f"{SIGNATURE}: max_tokens is {places}, not {_LEAST_PLACES} to {positions}")
    return places


def _ends(generation: Mapping[str, Any], vocabulary: int) -> tuple[int, ...]:
    ends = generation.get("eos_token_id")
    ends = ends if isinstance(ends, list) else [ends]
    if not ends or not all(_is_whole(end) and 0 <= end < vocabulary for end in ends):
        raise Refused(f"generation_config.json: eos_token_id is not of the vocabulary, 0 to {vocabulary - 1}")
    return tuple(ends)


def _whole(where: str, fields: Mapping[str, Any], name: str) -> int:
    value: Any = fields.get(name)
    if not _is_whole(value) or value < 1:
        raise Refused(f"{where}: {name} is {value!r}, no whole number from 1 on")
    return int(value)


def _given(config: Mapping[str, Any], name: str) -> int:
    """0 where it is left out."""
    return _whole("config.json", config, name) if config.get(name) else 0


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_code(value: Any) -> bool:
    return (
        isinstance(value, str) and value.isascii() and value.isalpha() and value.islower() and len(value) == 2
    )
