"""The plain HTTP port beside the gRPC one: /metrics for Prometheus, /healthz for container probes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from socketserver import TCPServer
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.exposition import ThreadingWSGIServer

_POLL_S = 0.05


class MonitoringPort:
    """An HTTP server in a daemon thread.

    Args:
        port: 0 takes a free one; `self.port` says which.
        registry: what /metrics shows.
        healthy: what /healthz says: 200 when true, 503 otherwise.
    """

    def __init__(
        self, host: str, port: int, registry: CollectorRegistry, healthy: Callable[[], bool]
    ) -> None:
        metrics = make_wsgi_app(registry)

        def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
            match environ["PATH_INFO"]:
                case "/metrics":
                    pages: Iterable[bytes] = metrics(environ, start_response)
                    return pages
                case "/healthz":
                    ok = healthy()
                    status = "200 OK" if ok else "503 Service Unavailable"
                    start_response(status, [("Content-Type", "text/plain")])
                    return [b"SERVING\n" if ok else b"NOT_SERVING\n"]
                case _:
                    start_response("404 Not Found", [("Content-Type", "text/plain")])
                    return [b"try /metrics or /healthz\n"]

        self._server = make_server(host, port, app, _Server, handler_class=_Quiet)
        self.port: int = self._server.server_port
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(_POLL_S,), name="monitoring", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Stops serving. Blocks for a moment."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingWSGIServer):
    def server_bind(self) -> None:
        """Binds without asking DNS for this machine's name, which can take seconds."""
        TCPServer.server_bind(self)
        host, port = self.server_address[:2]
        self.server_name, self.server_port = str(host), int(port)
        self.setup_environ()


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Probes every few seconds are no news."""
