"""Makes a translation model of about 100 million random weights, as INT8 IR: what costs time then is computing.

Run it where `models/phrase-translator` is trained, which has torch:

    models/phrase-translator/.venv/bin/python bench/random_translator.py build/translator-100m
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

SEED = 0
PLACES = 512
CONFIG = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 11,
    "num_attention_heads": 12,
    "num_key_value_heads": 12,
    "max_position_embeddings": PLACES,
    "tie_word_embeddings": True,
}
"""With the phrase translator's vocabulary of 4,096 tokens, 107 million weights."""
TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")


def make(artifact: Path, out: Path) -> int:
    """Writes the model, with the tokenizer and the signature of another one.

    Returns:
        How many weights it has.
    """
    # Of another environment than the other benchmarks'.
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(SEED)
    known = json.loads((artifact / "config.json").read_text())
    ends = {name: known[name] for name in ("vocab_size", "eos_token_id", "pad_token_id")}
    model = Qwen2ForCausalLM(Qwen2Config(bos_token_id=None, **CONFIG, **ends))
    model.generation_config.update(
        eos_token_id=ends["eos_token_id"], pad_token_id=ends["pad_token_id"], do_sample=False
    )
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as checkpoint:
        model.save_pretrained(checkpoint)
        for name in TOKENIZER:
            shutil.copy(artifact / name, checkpoint)
        command = [str(Path(sys.executable).with_name("optimum-cli")), "export", "openvino", "-m", checkpoint]
        command += ["--task", "text-generation-with-past", "--weight-format", "int8", str(out)]
        subprocess.run(command, check=True)
    shutil.copy(artifact / "chat_template.jinja", out)
    signature = json.loads((artifact / "signature.json").read_text())
    (out / "signature.json").write_text(json.dumps(signature | {"max_tokens": PLACES}, indent=2) + "\n")
    return sum(weights.numel() for weights in model.parameters())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--artifact", type=Path, default=Path("models/phrase-translator/artifact"))
    given = parser.parse_args()
    print(f"{make(given.artifact, given.out) / 1e6:.0f} million weights in {given.out}")
