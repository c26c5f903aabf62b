"""Settings that cannot be: the start ends with 2, the variable's name and no secret."""

import pytest

from trunkline_features.settings import Settings
from trunkline_hop.settings import load


@pytest.mark.parametrize(
    "url",
    ["user:secret@host", "http://:secret@host", "redis://:secret@host:port/0"],
)
def test_a_wrong_url_ends_the_start_and_names_the_variable(monkeypatch, capsys, url):
    monkeypatch.setenv("TRUNKLINE_REDIS_URL", url)
    with pytest.raises(SystemExit) as ended:
        load(Settings)
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("TRUNKLINE_REDIS_URL: expected")
    assert "secret" not in said
