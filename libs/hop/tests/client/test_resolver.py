"""What a target means."""

from __future__ import annotations

import pytest

from trunkline_hop.resolver import Address, Target, system_lookup


async def lookup(host: str, port: int) -> list[str]:
    return {"features": ["10.0.0.1", "fd00::1"], "empty": []}[host]


async def test_a_list_names_its_endpoints_once_each() -> None:
    target = Target.parse("a:1, b:2,a:1,unix:/run/x.sock")
    assert await target.resolve(lookup) == (Address("a:1"), Address("b:2"), Address("unix:/run/x.sock"))


async def test_a_name_stands_for_every_address_behind_it_and_keeps_its_authority() -> None:
    target = Target.parse("dns:///features:50051")
    assert target.fixed == ()
    assert await target.resolve(lookup) == (
        Address("10.0.0.1:50051", "features"),
        Address("[fd00::1]:50051", "features"),
    )


async def test_a_literal_v6_address_is_an_endpoint() -> None:
    assert Target.parse("[::1]:50051").fixed == (Address("[::1]:50051"),)


@pytest.mark.parametrize(
    "text", ["", " , ", "host", "host:", ":1", "host:0", "host:70000", "http://x:1", "dns:///x"]
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"no host:port|names no endpoint"):
        Target.parse(text)


async def test_the_machine_knows_itself() -> None:
    assert "127.0.0.1" in await system_lookup("127.0.0.1", 1)
