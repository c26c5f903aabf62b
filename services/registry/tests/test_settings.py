"""Settings that cannot be: the start ends with 2, the variable's name and no secret."""

import pytest

from trunkline_hop.settings import load
from trunkline_registry.settings import Settings


@pytest.mark.parametrize(
    "dsn",
    ["user:secret@host", "postgresql://user:secret@host/db?secret=1"],
)
def test_a_wrong_dsn_ends_the_start_and_names_the_variable(monkeypatch, capsys, dsn):
    monkeypatch.setenv("TRUNKLINE_POSTGRES_DSN", dsn)
    monkeypatch.setenv("TRUNKLINE_BLOB_DIR", "blobs")
    with pytest.raises(SystemExit) as ended:
        load(Settings)
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("TRUNKLINE_POSTGRES_DSN: expected")
    assert "secret" not in said
