"""query: three questions about a day among 10 M messages of a year, through the query service and without."""

import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial
from pathlib import Path

import duckdb
from tests.bench.dedup_index import timed
from tests.bench.processes import running, wait_until_ready
from tests.bench.report import Alternative, BenchmarkError, Result, Target
from tests.bench.stored import StoredTable, stored_table
from tests.bench.workbench import Workbench, stored_rows

from millrace import Client
from millrace.installation import PORTS, find_installation
from millrace_testkit.ports import free_offset
from query_service.search.run import connect

DAY = 200
PAGE_ROWS = 100
WARM_UPS, RUNS, TREE_RUNS = 3, 40, 5

_SENDER = "CASE WHEN chatroom_sender <> '' THEN chatroom_sender ELSE from_username END"
_COUNT = (
    f"SELECT count(*) FROM files WHERE {_SENDER} = $sender AND create_time >= $start AND create_time < $end"
)
_PAGE = (
    "SELECT * FROM files WHERE create_time >= $start AND create_time < $end "
    f"ORDER BY create_time, msg_id LIMIT {PAGE_ROWS}"
)
_BY_ID = "SELECT * FROM files WHERE msg_id = $msg_id"


@dataclass(frozen=True, slots=True)
class Question:
    """One question: asked of the service, and as SQL over `files`; `size` is how large the answer must be."""

    metric: str
    ask: Callable[[Client], int]
    sql: str
    parameters: dict[str, object]
    size: int


def run(bench: Workbench) -> list[Result]:
    """Every question asked of the service, of DuckDB on the files that matter, and on the whole tree."""
    stored = stored_table(bench.cache, stored_rows(), bench.say)
    day = stored.day(DAY)
    files = stored.files(day)
    questions = _questions(stored, day, files)
    served: dict[str, float] = {}
    pruned: dict[str, float] = {}
    with _client(bench, stored) as client, _engine(bench, "512MB") as engine:
        for question in questions:
            bench.say(f"{question.metric}: the query service and DuckDB on the pruned files, in turn")
            served[question.metric], pruned[question.metric] = _medians_ms(
                question, [partial(question.ask, client), partial(_asked, engine, question, files)], RUNS
            )
    bench.say("DuckDB on the whole tree")
    tree = [f"{stored.messages}/**/*.parquet"]
    with _engine(bench, "4GB") as engine:
        whole = {
            q.metric: _medians_ms(q, [partial(_asked, engine, q, tree)], TREE_RUNS)[0] for q in questions
        }
    results = []
    for question in questions:
        metric = question.metric
        on_pruned = Alternative("DuckDB, pruned files", pruned[metric])
        on_tree = Alternative("DuckDB, whole tree", whole[metric])
        results.append(Result(metric, served[metric], "ms", Target("<=", 1.5, of="ratio"), on_pruned))
        results.append(Result(metric, served[metric], "ms", None, on_tree))
    return results


def _questions(stored: StoredTable, day: date, files: list[str]) -> list[Question]:
    """A sender of the day with its number of messages, the day's first page, a message in its middle."""
    with duckdb.connect() as connection:
        [(sender, messages)] = connection.sql(
            f"SELECT {_SENDER} AS sender, count(*) FROM read_parquet($files) GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 1",
            params={"files": files},
        ).fetchall()
        [(msg_id,)] = connection.sql(
            "SELECT quantile_disc(msg_id, 0.5) FROM read_parquet($files)", params={"files": files}
        ).fetchall()
    within: dict[str, object] = {"start": day, "end": day + timedelta(days=1)}
    return [
        Question(
            "count_ms",
            lambda client: client.count(day, day, sender=sender),
            _COUNT,
            within | {"sender": sender},
            messages,
        ),
        Question(
            "page_ms",
            lambda client: len(client.search(day, day, limit=PAGE_ROWS).items),
            _PAGE,
            within,
            PAGE_ROWS,
        ),
        Question("by_id_ms", lambda client: len(client.get([msg_id])), _BY_ID, {"msg_id": msg_id}, 1),
    ]


@contextmanager
def _client(bench: Workbench, stored: StoredTable) -> Iterator[Client]:
    """query-service and the auth-service that it asks, each a process as deployed, and a client."""
    offset = free_offset()
    data = bench.scratch
    common = {"MILLRACE_PORT_OFFSET": offset, "MILLRACE_HOST": "127.0.0.1"}
    auth = {
        "MILLRACE_AUTH_DATABASE_URL": f"sqlite+aiosqlite:///{data / 'auth.sqlite'}",
        "MILLRACE_CREDENTIALS_FILE": data / "credentials.json",
    }
    query = {
        "MILLRACE_LAKE": stored.lake.absolute(),
        "MILLRACE_AUTH_URL": f"127.0.0.1:{PORTS['auth-service'].grpc + offset}",
    }
    with running(["-m", "auth_service.processes.server"], data / "auth.log", common | auth) as keys:
        wait_until_ready(keys, [_ready("auth-service", offset)])
        with running(["-m", "query_service.processes.server"], data / "query.log", common | query) as server:
            wait_until_ready(server, [_ready("query-service", offset)])
            with Client(installation=find_installation({}, data=Path(data), port_offset=offset)) as client:
                yield client


def _ready(service: str, offset: int) -> str:
    return f"http://127.0.0.1:{PORTS[service].management + offset}/ready"  # type: ignore[index]


@contextmanager
def _engine(bench: Workbench, memory: str) -> Iterator[duckdb.DuckDBPyConnection]:
    """DuckDB with the settings of the query service."""
    with connect(threads=2, memory_limit=memory, temp_directory=bench.scratch) as engine:
        yield engine


def _asked(engine: duckdb.DuckDBPyConnection, question: Question, files: list[str]) -> int:
    """The size of DuckDB's answer."""
    found = engine.sql(
        question.sql.replace("files", "read_parquet($files)"), params=question.parameters | {"files": files}
    ).to_arrow_table()
    return int(found.column(0)[0].as_py()) if question.sql is _COUNT else found.num_rows


def _medians_ms(question: Question, ways: Sequence[Callable[[], int]], runs: int) -> list[float]:
    """Median of each way, asked in turn so that a busy moment meets all of them; BenchmarkError when one errs."""
    took: list[list[float]] = [[] for _ in ways]
    for _ in range(WARM_UPS + runs):
        for ask, times in zip(ways, took, strict=True):
            seconds, size = timed(ask)
            if size != question.size:
                raise BenchmarkError(f"{question.metric}: an answer of {size}, not {question.size}")
            times.append(1000 * seconds)
    return [statistics.median(times[WARM_UPS:]) for times in took]
