"""Which embedding tells speakers apart."""

from __future__ import annotations

from trunkline_modelstore.residents import Resident
from trunkline_speech.classical_embedding import ClassicalEmbedding
from trunkline_speech.registered_voices import registered


class Held:
    """A store that holds what it is given."""

    def __init__(self) -> None:
        self.resident: Resident[ClassicalEmbedding] | None = None

    def find(self, name: str) -> Resident[ClassicalEmbedding] | None:
        assert name == "models/voices"
        return self.resident


def test_the_registrys_network_is_used_while_it_is_loaded_and_signal_processing_else():
    store, network, otherwise = Held(), ClassicalEmbedding(), ClassicalEmbedding()
    now = registered(store, "models/voices", otherwise)
    assert now() is otherwise
    store.resident = Resident(("models/voices/versions/1", "d"), network, 1)
    assert now() is network
    store.resident = None
    assert now() is otherwise
