"""A trained model's files are those that its digests say."""

from pathlib import Path

import pytest

from trunkline_artifact import locate, parser, to_json, verify, write


def test_what_was_written_verifies_and_what_was_changed_does_not(tmp_path):
    write(tmp_path / "artifact", {"b": b"2", "a": b"1"})
    assert set(verify(tmp_path / "artifact")) == {"a", "b"}
    (tmp_path / "artifact" / "a").write_bytes(b"3")
    with pytest.raises(ValueError, match="a is not the file"):
        verify(tmp_path / "artifact")


def test_files_in_the_package_come_before_those_beside_its_sources(tmp_path):
    package = tmp_path / "src" / "trunkline_thing"
    with pytest.raises(FileNotFoundError, match=r"python -m trunkline_thing\.train"):
        locate(package)
    write(tmp_path / "artifact", {})
    assert locate(package) == tmp_path / "artifact"
    write(package / "artifact", {})
    assert locate(package) == package / "artifact"


def test_json_has_the_same_bytes_for_the_same_value():
    assert to_json({"name": "Zoë", "values": [1, 2.5]}) == to_json({"name": "Zoë", "values": [1, 2.5]})
    assert "Zoë".encode() in to_json("Zoë")


def test_the_command_writes_what_ships_unless_told_otherwise(capsys):
    package = Path("/repo/models/thing/src/trunkline_thing")
    made = parser(package, "Trains a thing.", "examples: none", seed=7, recorded="recorded things")
    chosen = made.parse_args([])
    assert (chosen.out, chosen.seed, chosen.data) == (Path("/repo/models/thing/artifact"), 7, None)
    with pytest.raises(SystemExit):
        made.parse_args(["--help"])
    told = capsys.readouterr().out
    assert "Trains a thing." in told
    assert "recorded things" in told
