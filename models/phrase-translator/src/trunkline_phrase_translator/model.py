# mypy: allow-subclassing-any
# Types are checked where torch is not installed.
"""The network: Llama (Touvron et al., 2023), small, under the names that transformers gives its weights.

Written out because it is trained on a core or two, where attention must stay out of autocast and generality
(masks, caches) has no use.
"""

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import LlamaConfig

from trunkline_phrase_translator.tokens import END, PAD

POSITIONS: Final = 512
IGNORED: Final = -100
_BASE: Final = 10_000.0
_EPSILON: Final = 1e-5
_HEAD: Final = 64
_SPREAD: Final = 0.02


@dataclass(frozen=True, slots=True)
class Size:
    """How large."""

    width: int = 256
    layers: int = 5
    inner: int = 640
    """Of the feed-forward network."""
    key_heads: int = 2

    @property
    def heads(self) -> int:
        return self.width // _HEAD


def configure(size: Size, vocabulary: int, ids: dict[str, int]) -> LlamaConfig:
    """As transformers, vLLM and the exporter read it."""
    return LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=size.width,
        intermediate_size=size.inner,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        num_key_value_heads=size.key_heads,
        head_dim=_HEAD,
        max_position_embeddings=POSITIONS,
        rms_norm_eps=_EPSILON,
        tie_word_embeddings=True,
        attention_bias=False,
        mlp_bias=False,
        bos_token_id=None,
        eos_token_id=ids[END],
        pad_token_id=ids[PAD],
        rope_parameters={"rope_type": "default", "rope_theta": _BASE},
        use_cache=True,
    )


class Norm(nn.Module):
    """RMSNorm."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, hidden: Tensor) -> Tensor:
        return functional.rms_norm(hidden, self.weight.shape, self.weight.to(hidden.dtype), _EPSILON)


class Attention(nn.Module):
    """Causal attention with rotary positions, several queries to a key."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.heads, self.key_heads = size.heads, size.key_heads
        self.q_proj = nn.Linear(size.width, size.heads * _HEAD, bias=False)
        self.k_proj = nn.Linear(size.width, size.key_heads * _HEAD, bias=False)
        self.v_proj = nn.Linear(size.width, size.key_heads * _HEAD, bias=False)
        self.o_proj = nn.Linear(size.heads * _HEAD, size.width, bias=False)

    def forward(self, hidden: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
        rows, length, _ = hidden.shape
        query = self.q_proj(hidden).view(rows, length, self.heads, _HEAD).transpose(1, 2)
        key = self.k_proj(hidden).view(rows, length, self.key_heads, _HEAD).transpose(1, 2)
        value = self.v_proj(hidden).view(rows, length, self.key_heads, _HEAD).transpose(1, 2)
        query, key = _rotate(query, cosine, sine), _rotate(key, cosine, sine)
        groups = self.heads // self.key_heads
        if groups > 1:
            key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
        # In single precision: torch's bfloat16 attention is slow on a CPU.
        with torch.autocast(hidden.device.type, enabled=False):
            mixed = functional.scaled_dot_product_attention(
                query.float(), key.float(), value.float(), is_causal=True
            )
        mixed = mixed.to(hidden.dtype)
        return self.o_proj(mixed.transpose(1, 2).reshape(rows, length, -1))


class FeedForward(nn.Module):
    """SwiGLU."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(size.width, size.inner, bias=False)
        self.up_proj = nn.Linear(size.width, size.inner, bias=False)
        self.down_proj = nn.Linear(size.inner, size.width, bias=False)

    def forward(self, hidden: Tensor) -> Tensor:
        return self.down_proj(functional.silu(self.gate_proj(hidden)) * self.up_proj(hidden))


class Layer(nn.Module):
    """Attention and the feed-forward network, each after a norm."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.input_layernorm = Norm(size.width)
        self.self_attn = Attention(size)
        self.post_attention_layernorm = Norm(size.width)
        self.mlp = FeedForward(size)

    def forward(self, hidden: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
        hidden = hidden + self.self_attn(self.input_layernorm(hidden), cosine, sine)
        return hidden + self.mlp(self.post_attention_layernorm(hidden))


class Decoder(nn.Module):
    """The embedding, the layers and the last norm."""

    def __init__(self, size: Size, vocabulary: int) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(vocabulary, size.width)
        self.layers = nn.ModuleList(Layer(size) for _ in range(size.layers))
        self.norm = Norm(size.width)


class Translator(nn.Module):
    """The decoder; its head is its embedding."""

    def __init__(self, size: Size, vocabulary: int) -> None:
        super().__init__()
        self.size = size
        self.model = Decoder(size, vocabulary)
        for name, weight in self.named_parameters():
            if weight.ndim == 2:
                deep = name.endswith(("o_proj.weight", "down_proj.weight"))
                nn.init.normal_(weight, std=_SPREAD / (2 * size.layers) ** 0.5 if deep else _SPREAD)
        angles = torch.outer(
            torch.arange(POSITIONS, dtype=torch.float32),
            _BASE ** (-torch.arange(0, _HEAD, 2, dtype=torch.float32) / _HEAD),
        ).repeat(1, 2)
        self.register_buffer("cosine", angles.cos(), persistent=False)
        self.register_buffer("sine", angles.sin(), persistent=False)

    def hidden(self, ids: Tensor) -> Tensor:
        """ids (rows, length) -> (rows, length, width)."""
        length = ids.shape[1]
        hidden = self.model.embed_tokens(ids)
        if torch.is_autocast_enabled(ids.device.type):
            hidden = hidden.to(torch.get_autocast_dtype(ids.device.type))
        cosine, sine = self.cosine[:length].to(hidden.dtype), self.sine[:length].to(hidden.dtype)
        for layer in self.model.layers:
            hidden = layer(hidden, cosine, sine)
        return self.model.norm(hidden)

    def logits(self, hidden: Tensor) -> Tensor:
        return functional.linear(hidden, self.model.embed_tokens.weight)

    def forward(self, ids: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """The mean loss over the targets that are not IGNORED, and how many of them are most likely.

        ids, targets: (rows, length); a target is the token after the one at its place.
        """
        wanted = targets != IGNORED
        logits = self.logits(self.hidden(ids)[wanted]).float()
        kept = targets[wanted]
        return functional.cross_entropy(logits, kept), (logits.detach().argmax(-1) == kept).sum()


def _rotate(heads: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    first, second = heads.chunk(2, -1)
    return heads * cosine + torch.cat((-second, first), -1) * sine
