"""TLS and mutual TLS by settings, and certificates that change while it runs."""

from __future__ import annotations

import asyncio
import os
import ssl
from contextlib import asynccontextmanager

import grpc
import grpc.aio
import pytest
import trustme
from hop_conditions import failure, until
from hop_echo import EchoRequest, EchoResponse, Stub

from trunkline_hop.context import Principal


def write(path, *blobs):
    """Replaces a file as a careful administrator does, and makes sure that its stamp is another one."""
    fresh = path.with_suffix(".new")
    fresh.write_bytes(b"".join(blob.bytes() for blob in blobs))
    fresh.replace(path)
    write.stamps += 1
    os.utime(path, (1_000_000_000 + write.stamps, 1_000_000_000 + write.stamps))


write.stamps = 0


@pytest.fixture
def authority():
    return trustme.CA()


@pytest.fixture
def files(tmp_path, authority):
    """The server's certificate and key, on disk."""
    issued = authority.issue_cert("localhost")
    write(tmp_path / "cert.pem", *issued.cert_chain_pems)
    write(tmp_path / "key.pem", issued.private_key_pem)
    write(tmp_path / "ca.pem", authority.cert_pem)
    return tmp_path


def settings_of(files, *, mutual=False):
    given = {"tls_cert": files / "cert.pem", "tls_key": files / "key.pem"}
    return given | ({"tls_client_ca": files / "ca.pem"} if mutual else {})


@asynccontextmanager
async def client(echo, authority, identity=None):
    """A stub on a connection of its own."""
    credentials = grpc.ssl_channel_credentials(
        authority.cert_pem.bytes(),
        identity.private_key_pem.bytes() if identity else None,
        b"".join(blob.bytes() for blob in identity.cert_chain_pems) if identity else None,
    )
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.ssl_target_name_override", "localhost")]
    async with grpc.aio.secure_channel(echo.server.target, credentials, options) as channel:
        yield Stub(channel)


def presented(echo):
    """The certificate that a new connection is shown."""
    return ssl.get_server_certificate(("127.0.0.1", echo.server.port))


async def whoami(echo):
    seen = []

    async def handler(request, call):
        seen.append(call.principal)
        return EchoResponse()

    echo.servicer.on_echo = handler
    return seen


async def test_a_client_that_trusts_the_authority_is_served_anonymously(start, files, authority):
    echo = await start(**settings_of(files))
    seen = await whoami(echo)
    async with client(echo, authority) as stub:
        await stub.Echo(EchoRequest(), timeout=10)
    assert seen == [Principal("anonymous", "none")]


async def test_a_client_that_does_not_trust_the_authority_does_not_connect(start, files):
    echo = await start(**settings_of(files))
    async with client(echo, trustme.CA()) as stub:
        assert (await failure(stub.Echo(EchoRequest(), timeout=10))).code() is grpc.StatusCode.UNAVAILABLE


async def test_with_mutual_tls_the_certificate_names_the_principal(start, files, authority):
    echo = await start(**settings_of(files, mutual=True))
    seen = await whoami(echo)
    async with client(echo, authority, authority.issue_cert("gateway.trunkline")) as stub:
        await stub.Echo(EchoRequest(), timeout=10)
    async with client(echo, authority, authority.issue_cert(common_name="batch-job")) as stub:
        await stub.Echo(EchoRequest(), timeout=10)
    assert seen == [Principal("gateway.trunkline", "mtls"), Principal("batch-job", "mtls")]


@pytest.mark.parametrize("identity", [None, "of a stranger"])
async def test_with_mutual_tls_a_client_without_a_certificate_of_the_authority_is_refused(
    start, files, authority, identity
):
    echo = await start(**settings_of(files, mutual=True))
    seen = await whoami(echo)
    issued = trustme.CA().issue_cert("gateway.trunkline") if identity else None
    async with client(echo, authority, issued) as stub:
        assert (await failure(stub.Echo(EchoRequest(), timeout=10))).code() is grpc.StatusCode.UNAVAILABLE
    assert seen == []


async def test_a_new_certificate_is_shown_to_new_connections_and_old_ones_go_on(start, files, authority):
    echo = await start(**settings_of(files))
    async with client(echo, authority) as old:
        await old.Echo(EchoRequest(), timeout=10)
        before = await asyncio.to_thread(presented, echo)
        issued = authority.issue_cert("localhost")
        write(files / "cert.pem", *issued.cert_chain_pems)
        write(files / "key.pem", issued.private_key_pem)
        after = await asyncio.to_thread(presented, echo)
        assert before != after == issued.cert_chain_pems[0].bytes().decode().replace("\r\n", "\n")
        await old.Echo(EchoRequest(), timeout=10)
    async with client(echo, authority) as new:
        await new.Echo(EchoRequest(), timeout=10)


@pytest.mark.parametrize("broken", ["garbage", "a key of another certificate", "gone"])
async def test_a_broken_file_leaves_the_last_good_certificate_in_use(start, files, authority, events, broken):
    echo = await start(**settings_of(files))
    before = await asyncio.to_thread(presented, echo)
    good = (files / "key.pem").read_bytes()
    match broken:
        case "garbage":
            write(files / "cert.pem", trustme.Blob(b"-----BEGIN CERTIFICATE-----\nnonsense\n"))
        case "gone":
            (files / "key.pem").unlink()
        case _:
            write(files / "key.pem", authority.issue_cert("localhost").private_key_pem)
    assert await asyncio.to_thread(presented, echo) == before
    async with client(echo, authority) as stub:
        await stub.Echo(EchoRequest(), timeout=10)
    await until(lambda: any(event["event"] == "certificate not reloaded" for event in events))
    # Mended, it is read again.
    issued = authority.issue_cert("localhost")
    write(files / "cert.pem", *issued.cert_chain_pems)
    write(files / "key.pem", issued.private_key_pem)
    assert good != (files / "key.pem").read_bytes()
    assert await asyncio.to_thread(presented, echo) != before


async def test_a_certificate_that_is_broken_at_the_start_stops_it(start, files):
    (files / "cert.pem").write_text("nonsense")
    with pytest.raises(ssl.SSLError):
        await start(**settings_of(files))
