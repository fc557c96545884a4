"""Arrow answers. pyarrow is not required by the SDK; it is asked for when it is used."""

import io
from collections.abc import Iterable
from typing import TYPE_CHECKING

from millrace.errors import InstallationError

if TYPE_CHECKING:
    import pyarrow as pa


def read_table(chunks: Iterable[bytes]) -> "pa.Table":
    """The table of an Arrow IPC stream cut into chunks anywhere; InstallationError without pyarrow."""
    try:
        from pyarrow import ipc
    except ImportError:
        raise InstallationError("Arrow tables need pyarrow: pip install pyarrow") from None
    stream = io.BytesIO()
    for chunk in chunks:
        stream.write(chunk)
    stream.seek(0)
    with ipc.open_stream(stream) as reader:
        return reader.read_all()
