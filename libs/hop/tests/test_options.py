"""Method options, as contracts declare them."""

from __future__ import annotations

import hop_echo

from trunkline_hop.context import Priority
from trunkline_hop.options import DEFAULT_TIMEOUT_S, MAXIMUM_TIMEOUT_S, Method, method_at, method_of

_METHODS = hop_echo.SERVICE.methods_by_name


def test_what_the_contract_says_is_what_the_hop_knows():
    assert method_of(_METHODS["Quick"]) == Method(
        "/hop_tests.v1.EchoService/Quick",
        idempotent=True,
        default_timeout_s=0.05,
        maximum_timeout_s=0.1,
        priority=Priority.INTERACTIVE,
    )


def test_a_method_with_an_idle_timeout_is_a_session():
    method = method_of(_METHODS["Converse"])
    assert method.session and method.idle_timeout_s == 1.0
    assert (method.service, method.name) == ("hop_tests.v1.EchoService", "Converse")


def test_a_method_is_found_by_its_path():
    assert method_at("/hop_tests.v1.EchoService/Chat") == method_of(_METHODS["Chat"])


def test_a_path_that_no_contract_declares_gets_the_defaults():
    for path in ("/grpc.unheard.of/Method", "/hop_tests.v1.EchoService/Gone", "odd"):
        method = method_at(path)
        assert (method.path, method.default_timeout_s, method.maximum_timeout_s) == (
            path,
            DEFAULT_TIMEOUT_S,
            MAXIMUM_TIMEOUT_S,
        )
        assert not method.idempotent
