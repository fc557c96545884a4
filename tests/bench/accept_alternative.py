"""The alternative door: a FastAPI endpoint that appends and fsyncs each payload by itself."""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from granian.constants import Interfaces
from granian.server.embed import Server

from millrace_runtime.process import run


def application(journal: Path) -> FastAPI:
    """`POST /webhook/wechat` as one would write it first: parse, append, fsync, answer."""
    app = FastAPI()
    file = journal.open("ab", buffering=0)

    @app.post("/webhook/wechat")
    async def webhook(payload: dict[str, Any]) -> dict[str, str]:
        file.write(json.dumps(payload, ensure_ascii=False).encode() + b"\n")
        os.fsync(file.fileno())
        return {"status": "ok"}

    return app


async def serve(stop: asyncio.Event) -> None:
    """Serve `JOURNAL PORT` of the command line until told to stop."""
    journal, port = Path(sys.argv[1]), int(sys.argv[2])
    server = Server(
        application(journal), address="127.0.0.1", port=port, interface=Interfaces.ASGI, log_enabled=False
    )
    serving = asyncio.create_task(server.serve())
    await stop.wait()
    server.stop()  # type: ignore[no-untyped-call]
    await serving


if __name__ == "__main__":
    sys.exit(run(serve))
