import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from trunkline_phrase_translator import artifact


@pytest.fixture(scope="session")
def shipped():
    """The files that ship."""
    return artifact.directory()
