import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from speakers import Tones

from trunkline_whisper_micro.tokens import learn_from_phrases


@pytest.fixture
def speaker():
    return Tones()


@pytest.fixture(scope="session")
def tokens():
    """A small vocabulary: learned as the real one, from fewer sentences."""
    return learn_from_phrases(("en", "es"), 8.0, sentences=300, merges=80)
