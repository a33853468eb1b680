"""Where the service listens: on sockets that systemd passes, else on a Unix socket, else on addresses and a port."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import MutableMapping, Sequence
from types import TracebackType
from typing import Final, Self

from service.http.listening import internet, unix
from service.http.listening.systemd import passed_sockets
from service.http.starting import PortSetting, StartError, why_not_bound
from service.settings.fields import Settings
from service.settings.reading import names_of_setting

log = logging.getLogger("contraflow.server")

METRICS: Final = "metrics_port"


class Listeners:
    """Bound sockets, closed at the end of the context; a Unix socket's file is removed then."""

    def __init__(
        self, sockets: Sequence[socket.socket], file: unix.SocketFile | None = None, setting: PortSetting = "http_port"
    ) -> None:
        """`file` is that of a Unix socket; `setting` names the port of the others."""
        self.sockets = list(sockets)
        self._file = file
        self._setting: PortSetting = setting

    def begin(self) -> None:
        """Let the sockets take connections: whoever reads the logged address may connect at once.

        uvicorn listens later, and sets the backlog then.

        Raises:
            StartError: another service has begun to listen on an address meanwhile.
        """
        if self._file is not None:
            self._file.check()
        for one in self.sockets:
            try:
                one.listen()
            except OSError as error:
                host, port = one.getsockname()[:2]
                raise StartError(why_not_bound(error, host, port, self._setting)) from None

    def addresses(self) -> list[str]:
        """Return what each listens on, e.g. http://127.0.0.1:8000 or unix:/run/contraflow.sock."""
        return [unix.shown(one) if one.family == socket.AF_UNIX else internet.shown(one) for one in self.sockets]

    def close(self) -> None:
        """Close the sockets, and remove a Unix socket's file."""
        if self._file is not None:
            self._file.remove()
        for one in self.sockets:
            one.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def bound(settings: Settings, environment: MutableMapping[str, str] = os.environ) -> Listeners:
    """Return sockets that are bound where the settings say, and take no connections yet.

    Those that systemd passes take some already; they wait until the service serves.

    Raises:
        StartError: an address is none, is taken, or may not be used.
    """
    passed = passed_sockets(environment)
    if passed:
        if settings.uds is not None:
            log.warning("%s is ignored: systemd passes the sockets", names_of_setting("uds"))
        return Listeners(passed)
    if settings.uds is not None:
        file = unix.SocketFile(settings.uds)
        return Listeners([file.socket], file)
    return Listeners(internet.bound_sockets(settings.host, settings.http_port))


def bound_for_metrics(settings: Settings) -> Listeners:
    """Return sockets that are bound to the port for metrics alone; none if there is no such port.

    Raises:
        StartError: an address is none, is taken, or may not be used.
    """
    if settings.metrics_port is None:
        return Listeners([])
    return Listeners(internet.bound_sockets(settings.host, settings.metrics_port, METRICS), setting=METRICS)


def listen(settings: Settings) -> Listeners:
    """Return sockets that listen where the settings say; raises StartError as `bound` and `begin` do."""
    listeners = bound(settings)
    try:
        listeners.begin()
    except StartError:
        listeners.close()
        raise
    return listeners
