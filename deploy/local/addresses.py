"""Where the parts of the embedded deployment listen."""

import contextlib
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self

HOST: Final = "127.0.0.1"
PROJECT: Final = "demo-local"
OFFSETS: Final = {"gateway": 0, "checkout": 1, "scanning": 2, "social": 3, "firestore": 5, "stripe": 6, "mailbox": 7}
HIGHEST_BASE: Final = 65535 - max(OFFSETS.values())


class PortInUse(Exception):  # noqa: N818  a sentence for the person who starts the system
    """Its text says which port, for what, and what to do."""


@dataclass(frozen=True, slots=True)
class Addresses:
    """A port for every part."""

    ports: Mapping[str, int]

    @classmethod
    def from_base(cls, base: int) -> Self:
        """The ports that follow ``base``, or free ones where it is 0; raises ``PortInUse``."""
        return cls(_bindable(base) if base else _free())

    def url(self, part: str) -> str:
        return f"http://{HOST}:{self.ports[part]}"

    @property
    def firestore(self) -> str:
        return f"{HOST}:{self.ports['firestore']}"

    def ready_line(self) -> dict[str, str]:
        """What the ``ready`` line says: where to reach everything."""
        urls = {part: self.url(part) for part in OFFSETS}
        return {**urls, "firestore": self.firestore, "project": PROJECT}


def _free() -> dict[str, int]:
    """Ports that nobody has, all bound at the same time, so that no two parts get the same one."""
    with contextlib.ExitStack() as sockets:
        probes = {part: sockets.enter_context(_bound(0)) for part in OFFSETS}
        return {part: probe.getsockname()[1] for part, probe in probes.items()}


def _bindable(base: int) -> dict[str, int]:
    ports = {part: base + offset for part, offset in OFFSETS.items()}
    for part, port in ports.items():
        try:
            _bound(port).close()
        except OSError as error:
            raise PortInUse(
                f"Port {port} (for {part}) cannot be used: {error.strerror}. Stop what listens there, choose other"
                " ports with --base-port PORT, or any free ones with --base-port 0."
            ) from None
    return ports


def _bound(port: int) -> socket.socket:
    probe = socket.socket()
    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the servers do: TIME_WAIT is not in use
    try:
        probe.bind((HOST, port))
    except OSError:
        probe.close()
        raise
    return probe
