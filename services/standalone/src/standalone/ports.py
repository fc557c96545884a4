"""Where the services of this process listen."""

from millrace_runtime.listen import probe
from millrace_runtime.service import PORT_OPTION, PORTS, Endpoint

HOST = "127.0.0.1"


def endpoints(port_offset: int) -> dict[str, Endpoint]:
    """The table of ports, shifted, on this machine alone."""
    return {name: endpoint.shifted(port_offset).on(HOST) for name, endpoint in PORTS.items()}


def probe_ports(port_offset: int) -> None:
    """Raises PortTakenError, naming port and option, if any of the twelve is in use."""
    for endpoint in endpoints(port_offset).values():
        for port in (endpoint.http_port, endpoint.grpc_port, endpoint.management_port):
            probe(HOST, port, PORT_OPTION)
