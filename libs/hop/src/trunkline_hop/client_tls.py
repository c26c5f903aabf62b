"""The client's half of TLS: whom it trusts and who it says it is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import grpc


@dataclass(frozen=True, slots=True)
class ClientTls:
    """PEM files of a client."""

    ca: Path
    """Certificates of the authorities whose servers are trusted."""
    certificate: Path | None = None
    """The client's own certificate chain, for mutual TLS; None is an anonymous client."""
    key: Path | None = None
    """The private key of `certificate`."""

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("a client certificate and its key are given together or not at all")

    def read(self) -> Pem:
        """What the files hold now.

        Raises:
            OSError: a file cannot be read.
        """
        return Pem(
            ca=self.ca.read_bytes(),
            certificate=self.certificate.read_bytes() if self.certificate else None,
            key=self.key.read_bytes() if self.key else None,
        )


@dataclass(frozen=True, slots=True)
class Pem:
    """The content of a ClientTls's files at one moment. Equal when nothing changed."""

    ca: bytes
    certificate: bytes | None
    key: bytes | None

    def credentials(self) -> grpc.ChannelCredentials:
        """Channel credentials of these certificates."""
        return grpc.ssl_channel_credentials(self.ca, self.key, self.certificate)
