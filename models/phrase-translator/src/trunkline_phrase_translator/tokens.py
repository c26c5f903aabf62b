"""The tokenizer: byte-level BPE, learned from the grammar's sentences in all four languages."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from random import Random
from typing import Final

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from trunkline_phrase_translator.conversations import DIRECTIONS, codes
from trunkline_phrase_translator.placeholders import PLACEHOLDERS
from trunkline_phrase_translator.turn import Direction
from trunkline_phrases import FORMALITIES, LANGUAGES, sample, spoken

END: Final = "<|end|>"
PAD: Final = "<|pad|>"
SPECIAL: Final = (PAD, END, "<|system|>", "<|user|>", "<|assistant|>")
VOCABULARY: Final = 4096
_SENTENCES: Final = 60_000

_UNITS: Final = "ein|zwei|drei|vier|fünf|sechs|sieben|acht|neun"
_TEENS: Final = "zehn|elf|zwölf|dreizehn|vierzehn|fünfzehn|sechzehn|siebzehn|achtzehn|neunzehn"
_TENS: Final = "zwanzig|dreißig|vierzig|fünfzig|sechzig|siebzig|achtzig|neunzig"


def _either_case(words: str) -> str:
    return "|".join(f"[{word[0].upper()}{word[0]}]{word[1:]}" for word in words.split("|"))


_NUMERALS: Final = (
    rf" ?(?:{_either_case(_TEENS)}|{_either_case(_UNITS)})(?=hundert|tausend|und(?:{_TENS}))"
    rf"| ?(?:[Hh]undert|[Tt]ausend)(?={_UNITS}|{_TEENS}|{_TENS}|hundert|und)"
    rf"|und(?={_TENS})"
)
"""German writes a number as one word: vierhunderteinundzwanzig is vier, hundert, ein, und, zwanzig."""

PATTERN: Final = rf"{_NUMERALS}|'s\b| ?\p{{L}}{{1,2}}'| ?\p{{L}}+|\p{{N}}| ?[^\s\p{{L}}\p{{N}}]|\s+"
"""Words with the space before them, an elided word with its apostrophe; digits and marks one by one."""


def learn(seed: int = 7, size: int = VOCABULARY) -> Tokenizer:
    """Learns a vocabulary from sentences that are trained on."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PATTERN), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size - len(PLACEHOLDERS),
        show_progress=False,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(_texts(seed), trainer)
    # Not special: a detokenizer leaves special tokens out, and placeholders are part of the text.
    tokenizer.add_tokens([AddedToken(mark, special=False, normalized=False) for mark in PLACEHOLDERS])
    return tokenizer


def load(path: Path) -> Tokenizer:
    """What `learn` made, from its tokenizer.json."""
    return Tokenizer.from_file(str(path))


@cache
def _prompts() -> tuple[str, ...]:
    return tuple(
        codes(Direction(direction.source, direction.target, formality))
        for direction in DIRECTIONS
        for formality in (None, *FORMALITIES)
    )


def _texts(seed: int) -> Iterator[str]:
    rng = Random(seed)
    for _ in range(_SENTENCES // 100):
        yield from _prompts()
    for _ in range(_SENTENCES):
        sentence = sample(rng)
        for language in LANGUAGES:
            text = sentence.texts[language]
            yield text
            if rng.random() < 0.1:
                yield spoken(text, language)
