"""Which device a pipeline is opened on, after some of them broke."""

from __future__ import annotations

from typing import cast

import pytest

from trunkline_translate.genai_devices import TRUST_S, Devices, NoDevice
from trunkline_translate.genai_process import Process


class Opener:
    """Opens nothing, and tells on what."""

    def __init__(self) -> None:
        self.out_of_order: set[str] = set()
        self.now = 0.0
        self.devices = Devices("models/m/versions/1", ("NPU", "CPU"), self, clock=lambda: self.now)

    def __call__(self, device: str) -> Process:
        if device in self.out_of_order:
            raise RuntimeError("out of order")
        return cast("Process", device)

    def breaks(self) -> None:
        self.devices.open()
        self.devices.broke()


@pytest.fixture
def opener() -> Opener:
    return Opener()


def test_a_device_that_breaks_once_is_used_again(opener):
    opener.breaks()
    assert opener.devices.open() == "NPU"


def test_a_device_that_breaks_twice_is_left_for_the_next(opener):
    opener.breaks()
    opener.breaks()
    assert opener.devices.open() == "CPU"


def test_what_broke_long_ago_counts_no_more(opener):
    opener.breaks()
    opener.now += TRUST_S
    opener.breaks()
    assert opener.devices.open() == "NPU"
    opener.breaks()
    assert opener.devices.open() == "CPU"
    opener.now += TRUST_S
    assert opener.devices.open() == "NPU"


def test_a_device_that_broke_twice_is_better_than_none(opener):
    opener.breaks()
    opener.breaks()
    opener.out_of_order = {"CPU"}
    assert opener.devices.open() == "NPU"
    opener.out_of_order = {"CPU", "NPU"}
    with pytest.raises(NoDevice, match="it could not be opened"):
        opener.devices.open()


def test_where_all_break_the_one_that_breaks_least_is_used(opener):
    for _ in range(4):
        opener.breaks()
    assert opener.devices.open() == "NPU"
    opener.breaks()
    assert opener.devices.open() == "CPU"
