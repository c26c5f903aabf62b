"""The network: transformers' Whisper, small, and beside its encoder a CTC head that only training uses.

CTC (Graves et al., 2006) on characters teaches the encoder what is said long before the decoder's attention
has found where; trained from scratch with attention alone the model needs many times as long.
"""

from dataclasses import dataclass
from typing import Any, Final

from torch import Tensor, nn
from torch.nn import functional
from transformers import GenerationConfig, WhisperConfig, WhisperForConditionalGeneration

from trunkline_phrases import LANGUAGES
from trunkline_whisper_micro.labels import BLANK, CHARACTERS
from trunkline_whisper_micro.mel import BANDS
from trunkline_whisper_micro.tokens import STEP_S, Tokens

TARGET: Final = 192
"""Tokens the decoder may read and write, hints included."""
LONGEST: Final = 128
"""Tokens of a transcript by default; the rest of the decoder's places are for hints."""
CTC_WEIGHT: Final = 0.5
_SMOOTHING: Final = 0.05
IGNORED: Final = -100


@dataclass(frozen=True, slots=True)
class Size:
    """Of the network."""

    width: int = 192
    heads: int = 3
    encoder_layers: int = 4
    decoder_layers: int = 2


@dataclass(frozen=True, slots=True)
class Batch:
    """Tensors of one step."""

    frames: Tensor
    """[N, 80, T] of the spectrogram."""
    inputs: Tensor
    """[N, L] ids that the decoder reads."""
    targets: Tensor
    """[N, L] ids that it is to say next, IGNORED where nothing is."""
    characters: Tensor
    """[sum of lengths] of all clips, one after the other."""
    character_lengths: Tensor
    """[N]."""
    frame_lengths: Tensor
    """[N] frames of the encoder that belong to the clip."""


class Recogniser:
    """Whisper and the CTC head."""

    def __init__(self, config: WhisperConfig) -> None:
        self.whisper: Any = WhisperForConditionalGeneration(config)
        self.ctc: Any = nn.Linear(config.d_model, CHARACTERS)
        self.modules = nn.ModuleDict({"whisper": self.whisper, "ctc": self.ctc})

    def encode(self, frames: Tensor) -> Tensor:
        """[N, T / 2, width] of [N, 80, T], for any T up to the window.

        transformers insists on whole windows; clips are shorter, and most of a window would be silence.
        """
        encoder = self.whisper.model.encoder
        hidden = functional.gelu(encoder.conv1(frames))
        hidden = functional.gelu(encoder.conv2(hidden)).transpose(1, 2)
        hidden = hidden + encoder.embed_positions.weight[: hidden.shape[1]]
        for layer in encoder.layers:
            output = layer(hidden, None)
            hidden = output[0] if isinstance(output, tuple) else output
        return encoder.layer_norm(hidden)

    def decode(self, inputs: Tensor, heard: Tensor) -> Tensor:
        """[N, L, vocabulary] logits of what comes after each id."""
        decoded = self.whisper.model.decoder(input_ids=inputs, encoder_hidden_states=heard, use_cache=False)
        return self.whisper.proj_out(decoded.last_hidden_state)

    def losses(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The mean cross entropy of a token, and the mean CTC loss of a character."""
        heard = self.encode(batch.frames)
        spoken = functional.cross_entropy(
            self.decode(batch.inputs, heard).float().flatten(0, 1),
            batch.targets.flatten(),
            ignore_index=IGNORED,
            label_smoothing=_SMOOTHING,
        )
        letters = self.ctc(heard).float().log_softmax(-1).transpose(0, 1)
        ctc = functional.ctc_loss(
            letters,
            batch.characters,
            batch.frame_lengths,
            batch.character_lengths,
            blank=BLANK,
            reduction="sum",
            zero_infinity=True,
        )
        return spoken, ctc / batch.character_lengths.sum().clamp(min=1)


def configure(tokens: Tokens, size: Size) -> WhisperConfig:
    """The configuration of the network, every special id set."""
    special = tokens.special
    return WhisperConfig(
        vocab_size=tokens.size,
        num_mel_bins=BANDS,
        d_model=size.width,
        encoder_layers=size.encoder_layers,
        encoder_attention_heads=size.heads,
        encoder_ffn_dim=4 * size.width,
        decoder_layers=size.decoder_layers,
        decoder_attention_heads=size.heads,
        decoder_ffn_dim=4 * size.width,
        max_source_positions=round(tokens.window_s / STEP_S),
        max_target_positions=TARGET,
        dropout=0.0,
        pad_token_id=special["<|endoftext|>"],
        bos_token_id=special["<|endoftext|>"],
        eos_token_id=special["<|endoftext|>"],
        decoder_start_token_id=special["<|startoftranscript|>"],
        suppress_tokens=None,
        begin_suppress_tokens=None,
        use_cache=True,
        # On CPUs the fused attention takes longer, most of all backwards.
        attn_implementation="eager",
    )


def generation(tokens: Tokens, alignment_heads: list[list[int]]) -> GenerationConfig:
    """How to generate: whatever is not said here, pipelines take from the published models."""
    special = tokens.special
    config = GenerationConfig(
        max_length=LONGEST,
        pad_token_id=special["<|endoftext|>"],
        bos_token_id=special["<|endoftext|>"],
        eos_token_id=special["<|endoftext|>"],
        decoder_start_token_id=special["<|startoftranscript|>"],
        # A transcript may be empty: only the space alone may not begin it.
        begin_suppress_tokens=[tokens.vocabulary["\u0120"]],
        suppress_tokens=[],
    )
    entries: dict[str, Any] = {
        "is_multilingual": True,
        "lang_to_id": {f"<|{language}|>": tokens.language(language) for language in LANGUAGES},
        "task_to_id": {"transcribe": special["<|transcribe|>"], "translate": special["<|translate|>"]},
        "no_timestamps_token_id": special["<|notimestamps|>"],
        "prev_sot_token_id": special["<|startofprev|>"],
        "prev_bos_token_id": special["<|startofprev|>"],
        "max_initial_timestamp_index": round(tokens.window_s / STEP_S),
        "return_timestamps": False,
        "alignment_heads": alignment_heads,
        "nospeech_token_id": special["<|nospeech|>"],
    }
    for name, entry in entries.items():
        setattr(config, name, entry)
    return config
