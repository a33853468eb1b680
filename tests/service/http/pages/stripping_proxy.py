"""A reverse proxy that serves another address under a path prefix, and strips the prefix, as nginx and ingresses do."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.service.live_server import PATIENCE_SECONDS

HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "server", "date"})


@contextmanager
def stripping_proxy(host: str, port: int, prefix: str) -> Iterator[str]:
    """The address, without a slash at the end, under which `host:port` answers; nothing else is there."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if not self.path.startswith(f"{prefix}/"):
                self.send_error(404, "outside the prefix")
                return
            with closing(http.client.HTTPConnection(host, port, timeout=2 * PATIENCE_SECONDS)) as upstream:
                upstream.request(self.command, self.path.removeprefix(prefix), body or None, dict(self.headers))
                answer = upstream.getresponse()
                content = answer.read()
            with suppress(ConnectionError):  # a tab that is closed does not wait for what it asked for
                self.send_response(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in HOP_BY_HOP:
                        self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

        do_POST = do_GET  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}{prefix}"
        finally:
            server.shutdown()
            thread.join()
