"""Listening on a port that is really ours."""

import errno
import socket


class PortTakenError(Exception):
    """Another process listens on the port. `option` names what the user can change."""

    def __init__(self, host: str, port: int, option: str | None = None) -> None:
        hint = f"; choose other ports with {option}, or stop what listens there" if option else ""
        super().__init__(f"port {port} on {host} is taken{hint}")
        self.host = host
        self.port = port
        self.option = option


class ListenError(Exception):
    """The address cannot be listened on, for another reason than a taken port."""


def probe(host: str, port: int, option: str | None = None) -> None:
    """Raise `PortTakenError` if something listens on the port, `ListenError` if the address is not
    one of this host or the port is reserved.

    A bind without SO_REUSEPORT is the only sure test: servers that set the option would share a
    port with another process without a word.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as candidate:
        candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            candidate.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise PortTakenError(host, port, option) from None
            raise ListenError(f"cannot listen on {host} port {port}: {error.strerror or error}") from None
        except OverflowError:
            raise ListenError(f"cannot listen on {host} port {port}: ports are 0 to 65535") from None
