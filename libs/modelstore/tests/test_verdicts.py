"""What a trial found is kept for the next start."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from trunkline_hop.errors import NotAllowed
from trunkline_modelstore import LocalVersion
from trunkline_modelstore.trial import Refused
from trunkline_modelstore.verdicts import Verdicts, checked


@dataclass(frozen=True)
class Found:
    """What a trial found."""

    size: int

    def to_json(self) -> str:
        return json.dumps({"size": self.size})

    @classmethod
    def from_json(cls, text: str) -> Found:
        return cls(**json.loads(text))


def kept(directory: Path, engine: str = "e-1") -> Verdicts[Found]:
    return Verdicts(directory, engine, Found.from_json)


def version(directory: Path, digest: str = "a" * 64) -> LocalVersion:
    return LocalVersion("models/m/versions/1", digest, directory, {}, 1)


def test_a_verdict_is_found_by_digest_engine_and_nothing_else(tmp_path):
    verdicts = kept(tmp_path / "checked")
    assert verdicts.find("a" * 64) is None
    verdicts.keep("a" * 64, Found(7))
    assert verdicts.find("a" * 64) == Found(7)
    assert kept(tmp_path / "checked").find("a" * 64) == Found(7)
    assert verdicts.find("b" * 64) is None
    assert kept(tmp_path / "checked", "e-2").find("a" * 64) is None


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"length": 1}', "null"])
def test_a_damaged_verdict_is_none(tmp_path, damage):
    verdicts = kept(tmp_path)
    verdicts.keep("a" * 64, Found(7))
    (file,) = tmp_path.iterdir()
    file.write_text(damage)
    assert verdicts.find("a" * 64) is None


def test_a_version_is_tried_once(tmp_path):
    tried: list[Path] = []

    def check(directory: Path) -> Found:
        tried.append(directory)
        return Found(3)

    for _ in range(2):
        assert checked(version(tmp_path), check, kept(tmp_path / "checked")) == Found(3)
    assert tried == [tmp_path]
    checked(version(tmp_path), check, None)
    assert len(tried) == 2


def test_a_verdict_that_cannot_be_kept_keeps_no_model_from_serving(tmp_path):
    (tmp_path / "checked").write_text("in the way")
    assert checked(version(tmp_path), lambda _: Found(3), kept(tmp_path / "checked")) == Found(3)


def test_a_version_that_is_refused_is_refused_for_good_and_nothing_is_kept(tmp_path):
    def check(directory: Path) -> Found:
        raise Refused("no graph")

    with pytest.raises(NotAllowed, match="no graph"):
        checked(version(tmp_path), check, kept(tmp_path / "checked"))
    assert not (tmp_path / "checked").exists()


def test_a_trial_that_came_to_no_end_says_nothing_of_the_version(tmp_path):
    def check(directory: Path) -> Found:
        raise RuntimeError("out of time")

    with pytest.raises(RuntimeError, match="out of time"):
        checked(version(tmp_path), check, kept(tmp_path))
