"""Sentences that nobody says, of words that people say: pieces of other sentences in any order.

A recogniser that hears the grammar's sentences only learns to guess them from their first words, and guesses wrong
where a template is new to it. Of these it must hear every word.
"""

from functools import cache
from random import Random
from typing import Final

from trunkline_phrases import Language, sample

_SAMPLED: Final = 6_000
"""Sentences whose words make the lexicon of the part that training hears."""
_SINGLE: Final = 0.4
"""Pieces that are one word, every word as likely; the others are cut out of a sentence."""


def shuffled(rng: Random, language: Language) -> str:
    """Two to eight words of the training split, as a sentence."""
    wanted = rng.randint(2, 8)
    found: list[str] = []
    while len(found) < wanted:
        if rng.random() < _SINGLE:
            found.append(rng.choice(_lexicon(language)))
            continue
        words = _bare(sample(rng, "train", (language,)).texts[language])
        first = rng.randrange(len(words))
        found += words[first : first + rng.randint(1, 3)]
    text = " ".join(found[:wanted])
    return f"{text[0].upper()}{text[1:]}."


@cache
def _lexicon(language: Language) -> tuple[str, ...]:
    rng = Random(0)
    words = (_bare(sample(rng, "train", (language,)).texts[language]) for _ in range(_SAMPLED))
    return tuple(sorted({word for sentence in words for word in sentence}))


def _bare(text: str) -> list[str]:
    """Its words, without the punctuation around them and the capital that begins it."""
    words = [word for word in (word.strip('.,;:!?¿¡…"«»“”()') for word in text.split()) if word]
    return [words[0][0].lower() + words[0][1:], *words[1:]]
