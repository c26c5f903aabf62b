"""Server TLS and mutual TLS. Certificates are read again when their files change."""

from __future__ import annotations

import ssl
from pathlib import Path

import grpc
import structlog

logger = structlog.get_logger("trunkline_hop")


def stamp(*files: Path | None) -> tuple[tuple[int, int], ...]:
    """Changes when one of the files does."""
    return tuple((s.st_mtime_ns, s.st_size) for file in files if file is not None for s in [file.stat()])


def server_credentials(certificate: Path, key: Path, client_ca: Path | None) -> grpc.ServerCredentials:
    """Credentials that follow the files: a handshake after a change gets the new certificate.

    Args:
        certificate: chain, PEM.
        key: private key, PEM.
        client_ca: CA that every client needs a certificate from; None asks for none.

    Raises:
        OSError: a file cannot be read or does not fit at start (ssl.SSLError is one). Later, the last good
            certificate stays in use.
    """

    def read() -> grpc.ServerCertificateConfiguration:
        # The C core would take anything and fail later, without a word on which file is wrong.
        trial = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        trial.load_cert_chain(certificate, key)
        if client_ca is not None:
            trial.load_verify_locations(client_ca)
        return grpc.ssl_server_certificate_configuration(
            [(key.read_bytes(), certificate.read_bytes())],
            root_certificates=client_ca.read_bytes() if client_ca is not None else None,
        )

    seen = stamp(certificate, key, client_ca)

    def changed() -> grpc.ServerCertificateConfiguration | None:
        nonlocal seen
        try:
            now = stamp(certificate, key, client_ca)
            if now == seen:
                return None
            configuration = read()
        except OSError as error:
            logger.warning("certificate not reloaded", certificate=str(certificate), error=str(error))
            return None
        seen = now
        return configuration

    return grpc.dynamic_ssl_server_credentials(
        read(),
        changed,  # type: ignore[arg-type] # the stubs forget that None means "no change"
        require_client_authentication=client_ca is not None,
    )
