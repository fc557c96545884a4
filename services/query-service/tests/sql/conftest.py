"""A service with rows in all four datasets, and what asks it."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pytest
from deltalake import write_deltalake

from millrace_schemas import datasets
from millrace_testkit.messages_lake import DAY, MessagesLake

PHONE = "13905718264"
SECRET = "the private detail"

Ask = Callable[..., Awaitable[httpx.Response]]


@pytest.fixture
def ask(http: httpx.AsyncClient) -> Ask:
    """Ask by HTTP: `ask("SELECT 1", key="clear", accept="text/csv", limit=3, unmask=True)`."""

    async def asked(
        sql: str, *, key: str = "reader", accept: str = "application/json", **more: Any
    ) -> httpx.Response:
        headers = {"X-API-Key": key, "Accept": accept}
        return await http.post("/api/v1/sql", json={"sql": sql, **more}, headers=headers, timeout=60)

    return asked


@pytest.fixture
def rows(ask: Ask) -> Callable[..., Awaitable[list[list[Any]]]]:
    """The rows of an answer that has to be there."""

    async def asked(sql: str, **more: Any) -> list[list[Any]]:
        answer = await ask(sql, **more)
        assert answer.status_code == 200, answer.text
        found: list[list[Any]] = answer.json()["rows"]
        return found

    return asked


def append(root: Path, name: str, *given: dict[str, Any]) -> None:
    """Rows of any dataset: what is not given is empty or 0."""
    schema = datasets.load(name).arrow_schema()
    day = {"year": f"{DAY:%Y}", "month": f"{DAY:%m}", "day": f"{DAY:%d}", "ingestion_time": DAY}
    empty = {
        field.name: None if field.nullable else "" if field.type == pa.string() else 0 for field in schema
    }
    table = pa.Table.from_pylist([{**empty, **day, **row} for row in given], schema=schema)
    write_deltalake(str(root / name), table, mode="append", partition_by=["year", "month", "day"])


@pytest.fixture
def people(lake: MessagesLake) -> MessagesLake:
    """One row with personal data in each dataset but messages."""
    custom = f'{{"detailVisible":1,"detail":"{SECRET}"}}'
    append(
        lake.root,
        "contacts",
        {
            "username": "ann",
            "mobile": PHONE,
            "customInfo": custom,
            "extra_fields": f'{{"mobile":"{PHONE}","level":3}}',
            "row_order": "2026-03-14 1",
        },
    )
    append(
        lake.root,
        "other",
        {"guid": "g", "notify_type": 1039, "payload": f'{{"data":{{"mobile":"{PHONE}"}}}}'},
    )
    append(
        lake.root,
        "dead_letters",
        {"reason": "type_error", "body": f'{{"mobile":"{PHONE}"}}', "src_line": 1},
        {"reason": "not_json", "body": f"mobile={PHONE}", "body_base64": "MTM5MDU3MTgyNjQ=", "src_line": 2},
    )
    lake.after_commit()
    return lake
