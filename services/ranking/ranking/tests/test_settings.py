"""Settings that cannot be: the start ends with 2, the variable's name and no secret."""

import pytest

from trunkline_hop.settings import load
from trunkline_ranking.settings import Settings


@pytest.mark.parametrize(
    "name",
    ["TRUNKLINE_FEATURES", "TRUNKLINE_REGISTRY", "TRUNKLINE_RETRIEVAL"],
)
def test_a_wrong_address_ends_the_start_and_names_the_variable(monkeypatch, capsys, name):
    monkeypatch.setenv(name, "no port")
    with pytest.raises(SystemExit) as ended:
        load(Settings)
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith(f"{name}: ")
