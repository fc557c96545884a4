"""Why a connection to etcd fails: gRPC says "socket closed" alike for a server that is away and for one that
asks for TLS. So after a failure the port is asked once with the plain means of the standard library."""

from __future__ import annotations

import ssl

from millrace_ports.coordination.etcd.security import EtcdSecurity
from millrace_ports.tls_probe import short_connection, speaks_tls

_REQUEST = b"GET /version HTTP/1.1\r\nHost: etcd\r\nConnection: close\r\n\r\n"


async def misconfiguration(host: str, port: int, security: EtcdSecurity) -> str | None:
    """What is wrong with the settings for this member, by their names; None when nothing is known to be.

    Ends within some seconds and raises nothing for a server that is away.
    """
    if security.ca_file is None:
        if await speaks_tls(host, port):
            return "MILLRACE_ETCD_CA_FILE is not set, but etcd asks for TLS"
        return None
    try:
        context = _verified(security)
    except (OSError, ssl.SSLError) as error:
        return f"MILLRACE_ETCD_CA_FILE, _CERT_FILE or _KEY_FILE holds nothing usable: {_reason(error)}"
    try:
        await _answer(host, port, context)
    except ssl.SSLCertVerificationError as error:
        return f"MILLRACE_ETCD_CA_FILE: the certificate of etcd cannot be verified: {error.verify_message}"
    except ssl.SSLError as error:
        if "CERTIFICATE" in (error.reason or ""):
            return (
                "MILLRACE_ETCD_CERT_FILE and MILLRACE_ETCD_KEY_FILE: etcd asks for a certificate that it trusts "
                f"({_reason(error)})"
            )
    except (OSError, TimeoutError):
        pass
    if await _speaks_plainly(host, port):
        return "MILLRACE_ETCD_CA_FILE is set, but etcd does not speak TLS"
    return None


async def _speaks_plainly(host: str, port: int) -> bool:
    try:
        return (await _answer(host, port, None)).startswith(b"HTTP/")
    except (OSError, TimeoutError):
        return False


async def _answer(host: str, port: int, context: ssl.SSLContext | None) -> bytes:
    """The first line of an answer. Raises OSError, of which ssl.SSLError is a kind, and TimeoutError."""
    async with short_connection(host, port, context) as (reader, writer):
        writer.write(_REQUEST)
        await writer.drain()
        return await reader.readline()


def _verified(security: EtcdSecurity) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=security.ca_file)
    if security.cert_file is not None and security.key_file is not None:
        context.load_cert_chain(security.cert_file, security.key_file)
    return context


def _reason(error: OSError) -> str:
    return getattr(error, "reason", None) or error.strerror or str(error)
