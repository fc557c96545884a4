"""TLS of a connection to PostgreSQL, by the parameters that libpq fixed."""

import ssl
from collections.abc import Mapping
from pathlib import Path

from millrace_relational.failures import RefusedError


def tls_argument(parameters: Mapping[str, str]) -> bool | str | ssl.SSLContext:
    """What asyncpg takes as `ssl` for the checked `parameters` of a URL. Reads the files that they name.

    | sslmode | encrypted | the server must show |
    |---|---|---|
    | disable | no | |
    | allow, prefer (the default) | when the server offers it | nothing |
    | require | yes | nothing; with sslrootcert as verify-ca |
    | verify-ca | yes | a certificate signed by sslrootcert |
    | verify-full | yes | one signed by sslrootcert, else by one of the system's authorities, for its host |

    Raises:
        RefusedError: a file cannot be read or is not what it should be; the reason names the parameter.
    """
    mode = parameters.get("sslmode", "prefer")
    if "host" in parameters or mode == "disable":
        return False  # a socket of this host, or as asked
    if mode in ("allow", "prefer"):
        return mode
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    root = parameters.get("sslrootcert")
    context.check_hostname = mode == "verify-full"
    if root is None and mode == "require":
        context.verify_mode = ssl.CERT_NONE
    elif root is None or root == "system":
        context.load_default_certs()
    else:
        _load_authorities(context, Path(root))
    if "sslcert" in parameters:
        _load_own(context, Path(parameters["sslcert"]), Path(parameters["sslkey"]))
    return context


def _load_authorities(context: ssl.SSLContext, file: Path) -> None:
    try:
        context.load_verify_locations(cafile=file)
    except ssl.SSLError:
        raise RefusedError("parameter sslrootcert: the file holds no certificate in PEM format") from None
    except OSError as error:
        raise RefusedError(f"parameter sslrootcert: the file cannot be read: {error.strerror}") from None


def _load_own(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    for name, file in (("sslcert", certificate), ("sslkey", key)):
        try:
            file.open("rb").close()
        except OSError as error:
            raise RefusedError(f"parameter {name}: the file cannot be read: {error.strerror}") from None
    try:
        # A key under a passphrase would otherwise ask for it at the terminal.
        context.load_cert_chain(certificate, key, password=lambda: "")
    except (ssl.SSLError, ValueError):
        raise RefusedError("parameters sslcert and sslkey: not a certificate and its key in PEM") from None
