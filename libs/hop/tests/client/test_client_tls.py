"""TLS and mutual TLS by settings, and certificates that change under a running client."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme

from trunkline_hop import errors
from trunkline_hop.client_tls import ClientTls


def server_credentials(ca: trustme.CA, host: str = "127.0.0.1") -> grpc.ServerCredentials:
    own = ca.issue_cert(host)
    chain = b"".join(blob.bytes() for blob in own.cert_chain_pems)
    return grpc.ssl_server_credentials(
        [(own.private_key_pem.bytes(), chain)], ca.cert_pem.bytes(), require_client_auth=True
    )


def write(folder: Path, ca: trustme.CA, name: str, trust: trustme.CA | None = None) -> ClientTls:
    own = ca.issue_cert(name)
    files = [folder / "ca.pem", folder / "client.pem", folder / "client.key"]
    (trust or ca).cert_pem.write_to_path(files[0])
    files[1].write_bytes(b"".join(blob.bytes() for blob in own.cert_chain_pems))
    own.private_key_pem.write_to_path(files[2])
    return ClientTls(*files)


def naming(server: Any) -> None:
    async def on(method: str, text: str, context: Any) -> str:
        return context.auth_context()["x509_subject_alternative_name"][0].decode()

    server.on = on


async def test_a_client_shows_its_certificate(lab: Any, tmp_path: Path) -> None:
    ca = trustme.CA()
    server = await lab.server(credentials=server_credentials(ca))
    naming(server)
    stub = lab.Stub(await lab.channel(server, tls=write(tmp_path, ca, "ranking.local")))
    assert (await stub.Read(lab.Plain())).text == "ranking.local"


async def test_a_server_of_another_authority_is_not_talked_to(lab: Any, tmp_path: Path) -> None:
    ca = trustme.CA()
    server = await lab.server(credentials=server_credentials(ca))
    stub = lab.Stub(await lab.channel(server, tls=write(tmp_path, ca, "x.local", trust=trustme.CA())))
    assert isinstance(await lab.fault(stub.Write(lab.Plain())), errors.Unavailable)
    assert server.calls == []


async def test_a_resolved_name_is_what_the_certificate_has_to_carry(lab: Any, tmp_path: Path) -> None:
    ca = trustme.CA()
    server = await lab.server(credentials=server_credentials(ca, "notes.local"))
    tls = write(tmp_path, ca, "ranking.local")

    async def lookup(host: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    stub = lab.Stub(await lab.channel(target=f"dns:///notes.local:{server.port}", lookup=lookup, tls=tls))
    assert (await stub.Read(lab.Plain())).text == "one"
    wrong = lab.Stub(await lab.channel(target=f"dns:///other.local:{server.port}", lookup=lookup, tls=tls))
    assert isinstance(await lab.fault(wrong.Write(lab.Plain())), errors.Unavailable)


async def test_new_certificates_are_used_by_new_calls_and_calls_in_flight_finish(
    lab: Any, tmp_path: Path
) -> None:
    ca = trustme.CA()
    server = await lab.server(credentials=server_credentials(ca))
    naming(server)
    tls = write(tmp_path, ca, "old.local")
    channel = await lab.channel(server, tls=tls, tls_reload_s=0.02)
    stub = lab.Stub(channel)
    chat = stub.Chat()
    await chat.write(lab.Plain())
    assert (await chat.read()).text == "old.local"
    write(tmp_path, ca, "new.local")
    seen = "old.local"
    async with asyncio.timeout(20):
        while seen != "new.local":
            seen = (await stub.Read(lab.Plain())).text
    await chat.write(lab.Plain())
    assert (await chat.read()).text == "old.local"
    await chat.done_writing()
    assert await chat.read() is grpc.aio.EOF


async def test_files_that_cannot_be_read_leave_the_old_certificates_in_use(
    lab: Any, tmp_path: Path, events: Any
) -> None:
    ca = trustme.CA()
    server = await lab.server(credentials=server_credentials(ca))
    tls = write(tmp_path, ca, "old.local")
    channel = await lab.channel(server, tls=tls, tls_reload_s=0.01)
    tls.ca.unlink()
    await lab.until(lambda: "certificates not read" in [record["event"] for record in events])
    assert (await lab.Stub(channel).Read(lab.Plain())).text == "one"


def test_a_certificate_without_its_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="together"):
        ClientTls(tmp_path / "ca.pem", tmp_path / "client.pem")


async def test_missing_files_are_an_error_at_the_start(lab: Any, tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"ca\.pem"):
        await lab.channel(target="127.0.0.1:1", tls=ClientTls(tmp_path / "ca.pem"))
