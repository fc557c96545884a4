"""Ways out of the views, tried on the service; what is refused, and what the worker's process cannot do even then."""

import json
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from millrace_testkit.messages_lake import MessagesLake, message
from query_service.sql.protocol import Ask as AskWorker
from query_service.sql.protocol import Given, WorkerSettings
from query_service.sql.workers import Worker

Ask = Callable[..., Awaitable[Any]]

CANARY = "canary-5d1c"


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    """A file beside the lake that no answer may show."""
    file = tmp_path / "secret.csv"
    file.write_text(f"a\n{CANARY}\n")
    return file


WAYS = [
    "FROM '{file}'",
    'FROM "{file}"',
    "TABLE '{file}'",
    "SELECT * FROM messages WHERE content IN (FROM '{file}')",
    "WITH a AS (FROM read_csv('{file}')) FROM a",
    "WITH messages AS (FROM '{file}') FROM messages",
    "SELECT (SELECT a FROM read_csv_auto('{file}'))",
    "SELECT [x FOR x IN (SELECT list(a) FROM read_csv('{file}'))]",
    "FROM range(1) LEFT JOIN LATERAL (FROM read_text('{file}')) ON true",
    "FROM (VALUES (1)) UNION ALL FROM read_blob('{file}')",
    "FROM messages ORDER BY (SELECT content FROM read_text('{file}')) LIMIT (SELECT 1 FROM '{file}')",
    "SELECT count(*) FILTER (WHERE EXISTS (FROM '{file}')) OVER () FROM messages",
    "FROM\n--\nread_text\n/* */ ('{file}')",
    "FROM glob('{directory}/*')",
    "FROM sniff_csv('{file}')",
    "FROM parquet_metadata('{lake}/*/*/*/*/*.parquet')",
    "FROM read_parquet('{lake}/**/*.parquet')",
    "EXPLAIN ANALYZE FROM read_parquet('{lake}/**/*.parquet')",
    "EXPLAIN COPY (SELECT 1) TO '{directory}/new.csv'",
    "EXPLAIN ANALYZE COPY (SELECT 1) TO '{directory}/new.csv'",
    "EXPLAIN EXPLAIN FROM '{file}'",
    "COPY (SELECT 1) TO '{directory}/new.csv'",
    "COPY messages FROM '{file}'",
    "COPY (SELECT 1) TO '{lake}/new.parquet'",
    "EXPORT DATABASE '{directory}/new'",
    "IMPORT DATABASE '{directory}'",
    "ATTACH '{directory}/new.db'",
    "CREATE TABLE a AS FROM '{file}'",
    "CREATE TEMP VIEW a AS SELECT 1",
    "CREATE MACRO f() AS 1",
    "CREATE SECRET (TYPE s3)",
    "INSERT INTO messages VALUES (1)",
    "DROP VIEW messages",
    "INSTALL httpfs",
    "LOAD httpfs",
    "LOAD '{file}'",
    "SET enable_external_access = true",
    "SET VARIABLE a = 1",
    "RESET ALL",
    "PRAGMA database_list",
    "PRAGMA version",
    "CALL pragma_version()",
    "USE memory",
    "PREPARE a AS SELECT 1",
    "EXECUTE a",
    "BEGIN",
    "CHECKPOINT",
    "VACUUM",
    "PIVOT '{file}' ON a",
    "SELECT 1; COPY (SELECT 1) TO '{directory}/new.csv'",
    "SELECT 1;\u00a0SELECT 2",
    "SELECT current_setting('allowed_directories')",
    "SELECT getenv('HOME')",
    "SELECT write_log('a')",
    "SELECT json_serialize_plan('SELECT * FROM read_text(''{file}'')')",
    "FROM duckdb_secrets()",
    "FROM duckdb_settings()",
    "FROM 'https://example.com/a.parquet'",
    "FROM 's3://a/b.parquet'",
    "ＦＲＯＭ '{file}'",
    "SELECT 1 FROM sqlite_scan('{file}', 'a')",
    "FROM python_map_function(1)",
    "FROM messages AT (TIMESTAMP => now())",
    "SELECT 1 /* ; */; -- a\n DROP VIEW messages",
]


async def test_no_way_out(ask: Ask, lake: MessagesLake, canary: Path, tmp_path: Path) -> None:
    lake.append(message(1))
    assert (await ask("FROM messages")).status_code == 200
    before = listed(tmp_path)
    for way in WAYS:
        answer = await ask(way.format(file=canary, directory=tmp_path, lake=lake.root))
        assert answer.status_code == 400, (way, answer.text)
        error = answer.json()["error"]
        assert error["details"]["parameter"] == "sql", way
        assert error["message"].startswith("sql: "), way
        assert CANARY not in answer.text, way
        assert listed(tmp_path) == before, way


def listed(directory: Path) -> list[Path]:
    return sorted(directory.rglob("*"))


@pytest.fixture
def worker(lake: MessagesLake, tmp_path: Path) -> Iterator[Worker]:
    """A worker whose views a test may write itself, as if the check of statements had failed."""
    (tmp_path / "scratch").mkdir()
    lake.append(message(1))
    made = Worker(WorkerSettings((str(lake.root),), str(tmp_path / "scratch"), 128, 64, 1))
    yield made
    made.end()


def run(worker: Worker, view: str) -> Any:
    worker.send(AskWorker("FROM messages"))
    worker.receive(10)
    worker.send(Given({"messages": view}, 10, 1 << 20, 5.0))
    answer = worker.receive(10)
    if not hasattr(answer, "fault"):
        worker.receive_bytes(10)
    return answer


def test_the_engine_itself_reaches_nothing_but_the_lake(
    worker: Worker, lake: MessagesLake, canary: Path
) -> None:
    """The second wall, behind the check of the statement."""
    assert run(worker, f"FROM '{lake.files()[0]}'").rows == 1
    for view in (
        f"FROM read_csv('{canary}')",
        "FROM read_text('/etc/passwd')",
        "FROM glob('/*')",
        f"FROM '{lake.root}/../secret.csv'",
    ):
        assert hasattr(run(worker, view), "fault"), view


LANDLOCKED = """
import sys
from pathlib import Path
from query_service.sql.confine import confine_files, confine_memory
version = confine_files([Path(sys.argv[1])], Path(sys.argv[2]))
def allowed(work):
    try:
        work()
        return True
    except (OSError, MemoryError):
        return False
import socket
lake, scratch, other = map(Path, sys.argv[1:4])
print(version, [
    allowed(lambda: (lake / "file").read_text()),
    allowed(lambda: (scratch / "file").write_text("a")),
    allowed(lambda: (lake / "file").write_text("a")),
    allowed(lambda: (lake / "new").write_text("a")),
    allowed(lambda: (lake / "file").unlink()),
    allowed(lambda: other.read_text()),
    allowed(lambda: socket.create_connection(("127.0.0.1", int(sys.argv[4])), 1)),
])
confine_memory(64 << 20)
print(allowed(lambda: bytearray(32 << 20)), allowed(lambda: bytearray(256 << 20)))
"""


def test_the_kernel_lets_a_worker_read_the_lake_and_nothing_else(tmp_path: Path, canary: Path) -> None:
    """The third wall."""
    import socket

    lake, scratch = tmp_path / "lake", tmp_path / "scratch"
    lake.mkdir()
    scratch.mkdir()
    (lake / "file").write_text("rows")
    with socket.create_server(("127.0.0.1", 0)) as server:
        arguments = [str(lake), str(scratch), str(canary), str(server.getsockname()[1])]
        ended = subprocess.run(
            [sys.executable, "-c", LANDLOCKED, *arguments], capture_output=True, text=True, check=True
        )
    told, memory = ended.stdout.splitlines()
    version, _, allowed = told.partition(" ")
    assert memory == "True False"
    if version == "0":
        pytest.skip("this kernel has no Landlock")
    assert json.loads(allowed.lower()) == [True, True, False, False, False, False, int(version) < 4]


def test_a_worker_has_nothing_of_the_environment(worker: Worker) -> None:
    environment = Path(f"/proc/{worker.process_id}/environ").read_bytes().split(b"\0")
    names = {entry.partition(b"=")[0].decode() for entry in environment if entry}
    assert names <= {"PATH", "LD_LIBRARY_PATH", "PYTHONPATH", "LANG", "TZ", "MALLOC_ARENA_MAX", "LC_CTYPE"}
    descriptors = list(Path(f"/proc/{worker.process_id}/fd").iterdir())
    assert len(descriptors) < 20


WORDS = [
    *(
        "SELECT",
        "FROM",
        "WHERE",
        "WITH",
        "AS",
        "UNION ALL",
        "JOIN",
        "ON",
        "(",
        ")",
        ",",
        "*",
        "'",
        '"',
        ";",
        "--",
    ),
    *(
        "/*",
        "*/",
        "messages",
        "contacts",
        "other",
        "dead_letters",
        "create_time",
        "extra_fields",
        "mobile",
        "COPY",
    ),
    *(
        "TO",
        "ATTACH",
        "SET",
        "PRAGMA",
        "EXPLAIN",
        "ANALYZE",
        "DESCRIBE",
        "SHOW",
        "TABLES",
        "VALUES",
        "1",
        "NULL",
    ),
    *(
        "read_text",
        "read_csv",
        "glob",
        "range",
        "unnest",
        "count(*)",
        "->>",
        "'mobile'",
        "[",
        "]",
        "{",
        "}",
        ":",
    ),
    *(
        "GROUP BY ALL",
        "ORDER BY",
        "LIMIT",
        "PIVOT",
        "LATERAL",
        "RECURSIVE",
        "lambda x: x",
        "$1",
        "?",
        "🦆",
        "\u200b",
    ),
]


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.one_of(
        st.text(max_size=60),
        st.lists(st.sampled_from([*WORDS, "'{file}'", "read_text('{file}')"]), max_size=14).map(" ".join),
    )
)
def test_whatever_is_asked_is_answered_or_refused(
    fuzzed: "Callable[[str], tuple[int, str]]", canary: Path, text: str
) -> None:
    status, body = fuzzed(text.replace("{file}", str(canary)))
    assert status in (200, 400, 413), (status, body)
    assert CANARY not in body


@pytest.fixture
def fuzzed(lake: MessagesLake, tmp_path: Path) -> Any:
    """The engine asked as the routes ask it, without an event loop."""
    from contextlib import ExitStack

    from prometheus_client import CollectorRegistry

    from millrace_runtime.clock import SYSTEM_CLOCK
    from millrace_runtime.errors import ServiceError
    from query_service.metrics import QueryMetrics
    from query_service.search.handle import LakeHandle
    from query_service.search.run import connect
    from query_service.settings import QuerySettings
    from query_service.sql.compose import composed_sql
    from query_service.sql.question import checked_question
    from query_service.sql.shape import RENDERERS

    lake.append(message(1))
    with ExitStack() as running:
        connection = running.enter_context(
            connect(threads=1, memory_limit="128MB", temp_directory=tmp_path / "sorts")
        )
        handle = LakeHandle(lake.table, SYSTEM_CLOCK)
        settings = QuerySettings(lake=str(lake.root), sql_time_s=2.0, sql_memory="64MB")
        metrics = QueryMetrics(CollectorRegistry(), handle)
        asker = running.enter_context(
            composed_sql(settings, SYSTEM_CLOCK, {"messages": handle}, connection, metrics)
        )

        def asked(text: str) -> tuple[int, str]:
            try:
                question = checked_question(text, None, unmask=False, limits=asker.limits)
                answer = asker.engine.answer(question)
            except ServiceError as error:
                return error.http_status, error.message
            return 200, "".join(render(answer).decode(errors="replace") for render in RENDERERS.values())

        yield asked
