"""The tokenizer and the weights as transformers and vLLM read them."""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer

from trunkline_phrase_translator.artifact import to_json
from trunkline_phrase_translator.conversations import CHAT_TEMPLATE
from trunkline_phrase_translator.model import POSITIONS, Translator, configure
from trunkline_phrase_translator.tokens import END, PAD


def write(model: Translator, tokenizer: Tokenizer, place: Path) -> None:
    """Writes a checkpoint in bfloat16: the weights, the configurations, the tokenizer, the chat template."""
    place.mkdir(parents=True, exist_ok=True)
    write_tokenizer(tokenizer, place)
    ids = {token: tokenizer.token_to_id(token) for token in (END, PAD)}
    config: dict[str, Any] = configure(model.size, tokenizer.get_vocab_size(), ids).to_dict()
    config["architectures"] = ["LlamaForCausalLM"]
    config["dtype"] = config["torch_dtype"] = "bfloat16"
    # Read by what is older than transformers 5, vLLM among it.
    config["rope_theta"] = config["rope_parameters"]["rope_theta"]
    (place / "config.json").write_text(to_json(dict(sorted(config.items()))), encoding="utf-8")
    generation = {
        "do_sample": False,
        "eos_token_id": ids[END],
        "max_length": POSITIONS,
        "pad_token_id": ids[PAD],
    }
    (place / "generation_config.json").write_text(to_json(generation), encoding="utf-8")
    weights = {
        name: weight.detach().to(torch.bfloat16).contiguous() for name, weight in model.named_parameters()
    }
    save_file(weights, place / "model.safetensors", metadata={"format": "pt"})


def write_tokenizer(tokenizer: Tokenizer, place: Path) -> None:
    """Writes tokenizer.json, tokenizer_config.json and chat_template.jinja."""
    tokenizer.save(str(place / "tokenizer.json"))
    (place / "chat_template.jinja").write_text(CHAT_TEMPLATE, encoding="utf-8")
    described = {
        "added_tokens_decoder": {
            str(place): {
                "content": token.content,
                "lstrip": False,
                "normalized": False,
                "rstrip": False,
                "single_word": False,
                "special": token.special,
            }
            for place, token in sorted(tokenizer.get_added_tokens_decoder().items())
        },
        "chat_template": CHAT_TEMPLATE,
        "clean_up_tokenization_spaces": False,
        "eos_token": END,
        "model_max_length": POSITIONS,
        "pad_token": PAD,
        "tokenizer_class": "PreTrainedTokenizerFast",
    }
    (place / "tokenizer_config.json").write_text(to_json(described), encoding="utf-8")
