import hashlib
import os
import subprocess
import sys
from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline_phrases import LANGUAGES, PARTS, families, sample, templates

DIGEST = """
import hashlib, random, trunkline_phrases as phrases
rng = random.Random(7)
print(hashlib.sha256(repr([phrases.sample(rng, part) for part in phrases.PARTS for _ in range(50)]).encode()).hexdigest())
"""


class OnlyRandom:
    """Has the one method whose sequence is promised for a seed."""

    def __init__(self, seed):
        self.random = Random(seed).random


@given(st.integers(0, 2**32), st.sampled_from(PARTS))
def test_the_same_seed_gives_the_same_sentence(seed, part):
    assert sample(Random(seed), part) == sample(OnlyRandom(seed), part)


def test_the_same_seed_gives_the_same_sentences_in_another_process():
    rng = Random(7)
    here = hashlib.sha256(repr([sample(rng, part) for part in PARTS for _ in range(50)]).encode()).hexdigest()
    for hash_seed in ("0", "1"):
        there = subprocess.run(
            [sys.executable, "-c", DIGEST],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            check=True,
            text=True,
        )
        assert there.stdout.strip() == here


@given(st.integers(0, 2**32), st.sampled_from(LANGUAGES))
def test_the_draw_does_not_depend_on_the_languages(seed, language):
    everything, one = sample(Random(seed)), sample(Random(seed), languages=(language,))
    assert one.texts == {language: everything.texts[language]}
    assert (one.template, one.formality) == (everything.template, everything.formality)
    assert (one.before or {}).get(language) == (everything.before or {}).get(language)


@pytest.mark.parametrize("part", PARTS)
def test_only_templates_of_the_part_are_drawn_and_families_alike(part):
    rng = Random(part)
    drawn = [sample(rng, part, ("en",)) for _ in range(3200)]
    assert {sentence.template for sentence in drawn} <= {template.id for template in templates(part)}
    counts = Counter(sentence.family for sentence in drawn)
    assert set(counts) == set(families())
    # 200 expected of each, with a standard deviation of 14.
    assert all(130 < count < 270 for count in counts.values()), counts


def test_a_translation_is_a_function_of_text_formality_and_what_was_said_before():
    rng = Random(4)
    meant = {}
    for number in range(6000):
        sentence = sample(rng, PARTS[number % 3])
        for language in LANGUAGES:
            before = sentence.before[language] if sentence.before else None
            source = (language, sentence.texts[language], before, sentence.formality)
            assert meant.setdefault(source, sentence.texts) == sentence.texts
