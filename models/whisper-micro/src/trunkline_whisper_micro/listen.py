"""What the network itself hears, before export: transcripts, and which heads look at the word being said."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from trunkline_whisper_micro import mel
from trunkline_whisper_micro.clips import Clip
from trunkline_whisper_micro.labels import Label
from trunkline_whisper_micro.model import TARGET, Recogniser
from trunkline_whisper_micro.tokens import STEP_S, Tokens

_HEADS: Final = 3
_LEAD_S: Final = 0.1
"""A head may look so far before or behind a word."""


def transcribe(model: Recogniser, tokens: Tokens, clip: Clip) -> str:
    """The most likely token again and again, without time stamps; the language is given."""
    special = tokens.special
    ids = [
        special["<|startoftranscript|>"],
        tokens.language(clip.language),
        special["<|transcribe|>"],
        special["<|notimestamps|>"],
    ]
    with torch.inference_mode():
        heard = model.encode(_window(clip, tokens))
        first = len(ids)
        while len(ids) < TARGET:
            scores = model.decode(torch.tensor([ids]), heard)[0, -1]
            if len(ids) == first:
                scores[tokens.vocabulary["\u0120"]] = -torch.inf
            ids.append(int(scores.argmax()))
            if ids[-1] == special["<|endoftext|>"]:
                break
    return tokens.decode(ids[first:])


def alignment_heads(
    model: Recogniser, tokens: Tokens, heard: Sequence[Clip]
) -> tuple[list[list[int]], float]:
    """The heads that look most often at the word they spell, as [layer, head], and how often the best does."""
    hits: dict[tuple[int, int], list[bool]] = {}
    for clip in heard:
        sequence = Label.of(clip, tokens).sequence(tokens, stamped=False)
        with torch.inference_mode():
            decoded: Any = model.whisper.model.decoder(
                input_ids=torch.tensor([sequence]),
                encoder_hidden_states=model.encode(_window(clip, tokens)),
                use_cache=False,
                output_attentions=True,
            )
        # The step that says a word's first token is the one that read the token before it.
        step = sequence.index(tokens.special["<|notimestamps|>"])
        for word in (word for segment in clip.segments for word in segment.words):
            for layer, attention in enumerate(decoded.cross_attentions):
                for head, look in enumerate(attention[0, :, step].argmax(-1).tolist()):
                    time_s = look * STEP_S
                    inside = word.start_s - _LEAD_S <= time_s <= word.end_s + _LEAD_S
                    hits.setdefault((layer, head), []).append(inside)
            step += len(tokens.encode(" " + word.text))
    shares = {place: float(np.mean(found)) for place, found in hits.items()}
    best = sorted(shares, key=lambda place: -shares[place])
    chosen = [place for place in best[:_HEADS] if shares[place] >= 0.8 * shares[best[0]]]
    return [list(place) for place in sorted(chosen)], shares[best[0]]


def _window(clip: Clip, tokens: Tokens) -> Tensor:
    """[1, 80, frames] of a whole window."""
    heard = mel.log_mel(clip.samples)
    frames = np.full((round(tokens.window_s * 100), mel.BANDS), mel.floor(heard), np.float32)
    frames[: len(heard)] = heard[: len(frames)]
    return torch.from_numpy(frames.T[None].copy())
