"""The names other packages may use."""

import trunkline_hop

PUBLIC = [
    "Call",
    "Channel",
    "ClientSettings",
    "Clock",
    "Principal",
    "Priority",
    "Proxy",
    "Server",
    "ServiceSettings",
    "Servicer",
    "SystemClock",
    "Tracing",
    "connect",
    "running",
    "serve",
    "span",
]


def test_the_public_names_are_these():
    assert sorted(trunkline_hop.__all__) == sorted(PUBLIC)
    assert all(hasattr(trunkline_hop, name) for name in PUBLIC)
