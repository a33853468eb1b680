"""A real nginx in front of servers."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx

from bench.harness.server import Server, free_port, running

CONFIGURATION = """
daemon off;
worker_processes 1;
worker_rlimit_nofile 16384;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ worker_connections 8192; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
{sites}
}}
"""
"""nginx without a trace outside `folder`, as an ordinary user."""

BALANCER = """
    client_max_body_size 32m;
    client_body_buffer_size 1m;
    upstream replicas {{
        random;
        keepalive 64;
{servers}
    }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://replicas;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            # A prediction has no effect but its answer, so it may be asked for again elsewhere.
            proxy_next_upstream error timeout http_503 non_idempotent;
            proxy_connect_timeout 1s;
        }}
    }}
"""


@contextmanager
def nginx(port: int, sites: str) -> Iterator[Server]:
    """Run nginx with `sites` as what its `http` block holds; one of them listens on `port`."""
    with tempfile.TemporaryDirectory() as folder:
        configuration = Path(folder) / "nginx.conf"
        configuration.write_text(CONFIGURATION.format(folder=folder, sites=sites), encoding="utf-8")
        command = ["nginx", "-c", str(configuration), "-p", folder]
        url = f"http://127.0.0.1:{port}/"
        with running(command, port, lambda _: httpx.get(url, timeout=30).status_code > 0) as server:
            yield server


@contextmanager
def balancer(ports: Sequence[int]) -> Iterator[Server]:
    """Run nginx in front of `ports`; each request goes to one of them at random."""
    port = free_port()
    servers = "\n".join(f"        server 127.0.0.1:{number} max_fails=1 fail_timeout=2s;" for number in ports)
    with nginx(port, BALANCER.format(port=port, servers=servers)) as server:
        yield server
