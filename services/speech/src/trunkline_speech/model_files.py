"""What the files of a Whisper model say of it, and whether they agree.

OpenVINO GenAI believes them: an id outside of the vocabulary, or one that is not said, ends the process or stands
for the published models' token. So they are read here first, without loading anything.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from trunkline_modelstore.trial import Refused
from trunkline_speech.facts import Facts
from trunkline_speech.recogniser import Task
from trunkline_speech.transcript import RATE_HZ

SIGNATURE: Final = "signature.json"
TASK: Final = "recognize_speech"
_GRAPHS: Final = (
    "openvino_encoder_model",
    "openvino_decoder_model",
    "openvino_tokenizer",
    "openvino_detokenizer",
)
LOADED: Final = (
    "config.json",
    "generation_config.json",
    "preprocessor_config.json",
    *(f"{graph}.{part}" for graph in _GRAPHS for part in ("xml", "bin")),
)
"""Beside the signature, what a version must have."""
_STAMP_S: Final = 0.02
_HOP: Final = 160
_FFT: Final = 400
_LONGEST_S: Final = 30.0


def read(directory: Path) -> Facts:
    """What the files say. Word times are taken for possible when there is all that they need.

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
    generation = _object(directory, "generation_config.json")
    window_s = _window(signature, config, _object(directory, "preprocessor_config.json"))
    languages = _texts(signature, "languages")
    tasks = _tasks(signature)
    vocabulary = _whole("config.json", config, "vocab_size")
    multilingual = generation.get("is_multilingual", False) is True
    _special_ids(config, generation, vocabulary)
    if multilingual:
        _language_ids(generation, languages, tasks, vocabulary)
    elif languages != ("en",) or tasks != (Task.TRANSCRIBE,):
        raise Refused("it is not multilingual, so it can transcribe English and nothing else")
    why = _no_word_times(config, generation, vocabulary, window_s)
    return Facts(
        languages=languages,
        tasks=tasks,
        window_s=window_s,
        multilingual=multilingual,
        places=_whole("config.json", config, "max_target_positions"),
        vocabulary=vocabulary,
        files_bytes=sum((directory / name).stat().st_size for name in LOADED),
        word_times=not why,
        why_no_word_times=why,
    )


def _object(directory: Path, name: str) -> dict[str, Any]:
    try:
        value = json.loads((directory / name).read_bytes())
    except ValueError as error:
        raise Refused(f"{name} is no JSON") from error
    if not isinstance(value, dict):
        raise Refused(f"{name} is no JSON object")
    return value


def _window(signature: Mapping[str, Any], config: Mapping[str, Any], features: Mapping[str, Any]) -> float:
    if signature.get("task") != TASK:
        raise Refused(f"its task is {signature.get('task')!r}; this service serves {TASK}")
    window_s = signature.get("window_s")
    if isinstance(window_s, bool) or not isinstance(window_s, int | float) or not 1 <= window_s <= _LONGEST_S:
        raise Refused(f"{SIGNATURE}: window_s is not 1 to {_LONGEST_S:g}")
    frames = round(window_s * RATE_HZ / _HOP)
    wanted = {
        "sampling_rate": RATE_HZ,
        "hop_length": _HOP,
        "n_fft": _FFT,
        "feature_size": _whole("config.json", config, "num_mel_bins"),
        "chunk_length": window_s,
        "n_samples": round(window_s * RATE_HZ),
        "nb_max_frames": frames,
    }
    for name, value in wanted.items():
        if features.get(name) != value:
            raise Refused(f"preprocessor_config.json: {name} is {features.get(name)!r}, not {value:g}")
    if config.get("max_source_positions") != frames // 2:
        raise Refused(
            f"config.json: max_source_positions is {config.get('max_source_positions')!r}; "
            f"a window of {window_s:g} s has {frames // 2}"
        )
    return float(window_s)


def _texts(signature: Mapping[str, Any], name: str) -> tuple[str, ...]:
    value = signature.get(name)
    if not isinstance(value, list) or not value or not all(isinstance(each, str) and each for each in value):
        raise Refused(f"{SIGNATURE}: {name} is no list of names")
    if len(set(value)) != len(value):
        raise Refused(f"{SIGNATURE}: {name} has a name twice")
    return tuple(value)


def _tasks(signature: Mapping[str, Any]) -> tuple[Task, ...]:
    known = {task.value: task for task in Task}
    names = _texts(signature, "tasks")
    if unknown := [name for name in names if name not in known]:
        raise Refused(f"{SIGNATURE}: tasks has {unknown[0]}; there is {', '.join(known)}")
    return tuple(known[name] for name in names)


def _special_ids(config: Mapping[str, Any], generation: Mapping[str, Any], vocabulary: int) -> None:
    """Every id that the pipeline would otherwise take from the published models."""
    names = ("decoder_start_token_id", "eos_token_id", "pad_token_id")
    for file, fields in (("config.json", config), ("generation_config.json", generation)):
        for name in names:
            _token(f"{file}: {name}", fields.get(name), vocabulary)
    for name in names[:2]:
        if config[name] != generation[name]:
            raise Refused(f"config.json and generation_config.json differ in {name}")
    for name in ("no_timestamps_token_id", "prev_sot_token_id"):
        _token(f"generation_config.json: {name}", generation.get(name), vocabulary)
    _different(generation, ("decoder_start_token_id", "eos_token_id", "no_timestamps_token_id"))
    for name in ("suppress_tokens", "begin_suppress_tokens"):
        tokens = generation.get(name)
        if not isinstance(tokens, list):
            raise Refused(
                f"generation_config.json: {name} is no list, so the published models' would be used"
            )
        for token in tokens:
            _token(f"generation_config.json: {name}", token, vocabulary)
    _whole("generation_config.json", generation, "max_length")


def _language_ids(
    generation: Mapping[str, Any], languages: Iterable[str], tasks: Iterable[Task], vocabulary: int
) -> None:
    for name, wanted in (
        ("lang_to_id", {f"<|{language}|>" for language in languages}),
        ("task_to_id", {task.value for task in Task}),
    ):
        ids = generation.get(name)
        if not isinstance(ids, dict) or (missing := wanted - set(ids)):
            lacks = "no object" if not isinstance(ids, dict) else f"without {', '.join(sorted(missing))}"
            raise Refused(f"generation_config.json: {name} is {lacks}")
        for token, place in ids.items():
            _token(f"generation_config.json: {name}[{token}]", place, vocabulary)
        if len(set(ids.values())) != len(ids):
            raise Refused(f"generation_config.json: {name} has an id twice")


def _no_word_times(
    config: Mapping[str, Any], generation: Mapping[str, Any], vocabulary: int, window_s: float
) -> str:
    """Why the pipeline must not be asked for the times of words; empty when it may."""
    stamps = vocabulary - 1 - int(generation["no_timestamps_token_id"])
    needed = round(window_s / _STAMP_S) + 1
    if stamps < needed:
        return f"the vocabulary has {stamps} time stamps; a window of {window_s:g} s needs {needed}"
    heads = generation.get("alignment_heads")
    if not isinstance(heads, list) or not heads:
        return "generation_config.json names no alignment_heads"
    layers = _whole("config.json", config, "decoder_layers")
    width = _whole("config.json", config, "decoder_attention_heads")
    for head in heads:
        if not isinstance(head, list) or len(head) != 2 or not all(_is_whole(each) for each in head):
            raise Refused("generation_config.json: alignment_heads is no list of layers and heads")
        if not (0 <= head[0] < layers and 0 <= head[1] < width):
            raise Refused(f"generation_config.json: alignment_heads has {head}, which the decoder has not")
    return ""


def _token(where: str, value: Any, vocabulary: int) -> None:
    if not _is_whole(value) or not 0 <= value < vocabulary:
        raise Refused(f"{where} is {value!r}; the vocabulary has 0 to {vocabulary - 1}")


def _different(generation: Mapping[str, Any], names: Iterable[str]) -> None:
    seen: dict[int, str] = {}
    for name in names:
        if (other := seen.setdefault(generation[name], name)) != name:
            raise Refused(f"generation_config.json: {other} and {name} are one id")


def _whole(where: str, fields: Mapping[str, Any], name: str) -> int:
    value: Any = fields.get(name)
    if not _is_whole(value) or value < 1:
        raise Refused(f"{where}: {name} is {value!r}, no whole number from 1 on")
    return int(value)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
