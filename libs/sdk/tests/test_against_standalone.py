"""Both clients and the command line against a real installation."""

import gzip
import json
import os
import pty
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from millrace import AsyncClient, Client
from millrace.errors import (
    ForbiddenError,
    InstallationError,
    InvalidRequestError,
    LimitExceededError,
    NotFoundError,
    UnauthenticatedError,
    UnreachableError,
)
from millrace.installation import Installation, find_installation
from millrace.publishing import Accepted, Rejected
from millrace_testkit.ports import free_offset
from millrace_testkit.standalone import MILLRACE, Standalone, environment, running

pytestmark = pytest.mark.e2e

DAY = "2026-03-05"
NOON = 1_772_712_000
KEYLESS = {"msg_type": 1, "is_chatroom_msg": 0, "to_username": "me"}


@pytest.fixture(scope="module")
def standalone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standalone]:
    with running(tmp_path_factory.mktemp("data"), "--no-sample") as started:
        yield started


@pytest.fixture(scope="module")
def installation(standalone: Standalone) -> Installation:
    return find_installation({}, data=standalone.data, port_offset=standalone.port_offset)


@pytest.fixture
def client(installation: Installation) -> Iterator[Client]:
    with Client(installation=installation) as opened:
        yield opened


def payload(msg_id: str, sender: str = "ann", content: str = "hello", at: int = NOON) -> dict[str, object]:
    data = KEYLESS | {"msg_id": msg_id, "from_username": sender, "content": content, "create_time": at}
    return {"guid": "g", "notify_type": 1010, "data": data}


def wait_for(client: Client, count: int, sender: str) -> None:
    deadline = time.monotonic() + 20
    while client.count(DAY, DAY, sender=sender) < count:
        assert time.monotonic() < deadline, "published messages do not become visible"
        time.sleep(0.05)


def test_published_messages_are_found_counted_and_read_by_id(client: Client) -> None:
    sent = [payload(str(100 + n), content=f"text {n}", at=NOON + n) for n in range(5)]
    outcomes = client.publish([*sent, sent[0], "[1, 2]", b"not json"])
    assert [type(outcome) for outcome in outcomes] == [Accepted] * 6 + [Rejected] * 2
    wait_for(client, 5, "ann")
    page = client.search(DAY, DAY, sender="ann", columns=("content", "msg_id"), limit=2, offset=1)
    assert page.total == 5
    assert [(row.msg_id, row.content) for row in page.items] == [("101", "text 1"), ("102", "text 2")]
    assert client.count(DAY, DAY, sender=["ann", "bob"], msg_type=[3]) == 0
    assert [row.msg_id for row in client.get(["104", "unknown", "100"], columns=["msg_id"])] == ["100", "104"]
    table = client.search_arrow(DAY, DAY, sender="ann", columns=["msg_id"])
    assert table.column("msg_id").to_pylist() == ["100", "101", "102", "103", "104"]


async def test_the_asynchronous_client_does_the_same(installation: Installation, client: Client) -> None:
    async with AsyncClient(installation=installation) as opened:
        outcomes = await opened.publish([payload("200", "eve"), "nope"])
        assert isinstance(outcomes[0], Accepted)
        assert isinstance(outcomes[1], Rejected)
        wait_for(client, 1, "eve")
        assert await opened.count(DAY, DAY, sender="eve") == 1
        page = await opened.search(DAY, DAY, sender="eve")
        assert [row.msg_id for row in page.items] == ["200"]
        assert page.items == await opened.get(["200"])
        assert (await opened.search_arrow(DAY, DAY, sender="eve")).num_rows == 1
        first = await opened.generate("order-id")
        batch = await opened.batch("order-id", 3)
        assert len({first.id, *batch}) == 4
        assert (await opened.parse(first.id, biz_tag="order-id")).id == first.id
        with pytest.raises(NotFoundError):
            await opened.generate("nothing")


def test_ids_are_unique_and_say_what_they_are(client: Client) -> None:
    issued = client.generate("order-id")
    assert issued.algorithm == "segment"
    assert len({issued.id, *client.batch("order-id", 10)}) == 11
    parsed = client.parse(issued.id, biz_tag="order-id")
    assert (parsed.numeric_value, parsed.algorithm, parsed.biz_tag) == (issued.id, "segment", "order-id")
    assert parsed.timestamp is None
    uuid = client.parse("019b5f2e-1c00-7000-8000-000000000000", algorithm="uuid_v7")
    assert uuid.timestamp == datetime.fromtimestamp(0x019B5F2E1C00 / 1000, UTC)


def test_errors_have_a_type_a_code_and_a_request_id(installation: Installation, client: Client) -> None:
    with pytest.raises(NotFoundError) as unknown:
        client.generate("nothing")
    assert unknown.value.code == "IDGEN-RES-2003"
    assert unknown.value.request_id
    with pytest.raises(InvalidRequestError, match="colour"):
        client.search(DAY, DAY, columns=["colour"])
    with pytest.raises(ForbiddenError) as masked:
        client.search(DAY, DAY, unmask=True)
    assert masked.value.code == "IDGEN-AUTH-1002"
    stranger = Installation(port_offset=installation.port_offset, api_key="idgen_demo_" + "x" * 32)
    with Client(installation=stranger) as other, pytest.raises(UnauthenticatedError):
        other.count(DAY, DAY)
    with Client(installation=Installation()) as keyless, pytest.raises(InstallationError):
        keyless.count(DAY, DAY)


def test_nobody_at_the_address_is_unreachable() -> None:
    nowhere = Installation(port_offset=free_offset(), api_key="idgen_demo_" + "x" * 32)
    with Client(installation=nowhere) as client, pytest.raises(UnreachableError):
        client.count(DAY, DAY)


def test_send_says_what_was_refused_and_ends_with_1(standalone: Standalone, client: Client) -> None:
    lines = [json.dumps(payload("300", "sue")), "", "[1]", json.dumps(payload("301", "sue")), "{"]
    ended = standalone.millrace(["send", "-"], stdin="\n".join(lines).encode())
    assert ended.returncode == 1
    shown = ended.stderr.decode()
    assert "line 3:" in shown
    assert "line 5:" in shown
    assert "2 of 4 accepted, 2 refused" in shown
    wait_for(client, 2, "sue")


def test_send_takes_gzip_and_ends_with_0(standalone: Standalone, client: Client, tmp_path: Path) -> None:
    bodies = [json.dumps(payload(str(4000 + n), "tom")) for n in range(2_500)]
    packed = tmp_path / "payloads.jsonl.gz"
    packed.write_bytes(gzip.compress("\n".join(bodies).encode()))
    ended = standalone.millrace(["send", str(packed)])
    assert (ended.returncode, "2500 of 2500 accepted" in ended.stderr.decode()) == (0, True)
    wait_for(client, 2_500, "tom")
    shown = standalone.millrace(["query", "--start", DAY, "--end", DAY, "--sender", "tom", "--json"])
    answer = json.loads(shown.stdout)
    assert answer["total"] == len(answer["items"]) == len({row["msg_id"] for row in answer["items"]}) == 2_500


def test_a_cut_off_gzip_file_is_an_error_that_says_how_far_it_got(
    standalone: Standalone, tmp_path: Path
) -> None:
    body = json.dumps(payload("500", "cut")).encode()
    (tmp_path / "cut.gz").write_bytes(gzip.compress(body + b"\n" + body)[:-12])
    ended = standalone.millrace(["send", str(tmp_path / "cut.gz")])
    assert ended.returncode == 1
    assert "cut.gz" in ended.stderr.decode()
    assert "accepted" in ended.stderr.decode()


def test_query_classifies_where_asked(standalone: Standalone, client: Client) -> None:
    """LAKE-45: a view of the rows, in every format."""
    quote = (
        "<msg><appmsg><title>agreed</title><type>57</type><refermsg><type>1</type><svrid>9</svrid>"
        "<displayname>ann</displayname><content>ten?</content></refermsg></appmsg></msg>"
    )
    contents = ["plain", quote, "<msg><emoji/></msg>"]
    client.publish([payload(f"45{n}", "kim", text, NOON + n) for n, text in enumerate(contents)])
    wait_for(client, 3, "kim")
    chosen = ["query", "--start", DAY, "--end", DAY, "--sender", "kim"]
    shown = json.loads(standalone.millrace([*chosen, "--classify", "--json"]).stdout)["items"]
    assert [row["content"] for row in shown] == contents
    assert [(row["category"], row["should_filter"], row["text"]) for row in shown] == [
        ("unknown", False, "plain"),
        ("appmsg", False, "[quote @ann: ten?] agreed"),
        ("emoji", True, ""),
    ]
    assert shown[1]["refermsg"]["svrid"] == "9"
    some = standalone.millrace(
        [*chosen, "--classify", "--csv", "--columns", "msg_id,filter_reason,type_name"]
    )
    assert some.stdout.decode().splitlines() == [
        "msg_id,filter_reason,type_name",
        "450,,text",
        "451,,text",
        "452,emoji,text",
    ]
    assert "[quote @ann: ten?] agreed" in standalone.millrace([*chosen, "--classify"]).stdout.decode()
    assert "category" in standalone.millrace([*chosen, "--columns", "category"]).stderr.decode()


def test_query_filters_pages_and_formats(standalone: Standalone, client: Client) -> None:
    client.publish([payload(str(600 + n), "pat", at=NOON + n) for n in range(3)])
    wait_for(client, 3, "pat")
    chosen = ["query", "--start", DAY, "--end", DAY, "--sender", "pat"]
    as_csv = standalone.millrace([*chosen, "--columns", "msg_id,create_time", "--csv"])
    assert as_csv.stdout.decode().splitlines()[:2] == ["msg_id,create_time", "600,2026-03-05T12:00:00Z"]
    table = standalone.millrace([*chosen, "--limit", "2", "--offset", "1"]).stdout.decode()
    assert "2 of 3 messages" in table
    none = json.loads(standalone.millrace([*chosen, "--msg-type", "3,49", "--json"]).stdout)
    assert none == {"total": 0, "items": []}
    wrong = standalone.millrace(["query", "--start", DAY, "--end", "2026-01-01"])
    assert (wrong.returncode, b"Traceback" in wrong.stderr) == (2, False)


@pytest.fixture
def asked(client: Client) -> None:
    """Three messages of one sender, of two hours and two types."""
    kinds = [(NOON, 1), (NOON + 60, 3), (NOON + 3600, 1)]
    sent = [payload(str(700 + n), "sql", f"line {n}", at) for n, (at, _) in enumerate(kinds)]
    for body, (_, kind) in zip(sent, kinds, strict=True):
        body["data"] |= {"msg_type": kind}  # type: ignore[operator]
    client.publish(sent)
    wait_for(client, 3, "sql")


COUNTS = (
    "SELECT msg_type, count(*) AS messages FROM messages WHERE from_username = 'sql' "
    f"AND create_time >= '{DAY}' GROUP BY ALL ORDER BY ALL"
)


@pytest.mark.usefixtures("asked")
async def test_sql_by_both_clients(installation: Installation, client: Client) -> None:
    result = client.sql(COUNTS)
    assert (result.columns, result.types) == (("msg_type", "messages"), ("INTEGER", "BIGINT"))
    assert (result.rows, result.truncated, result.warnings) == ([[1, 2], [3, 1]], False, ())
    assert client.sql(COUNTS, limit=1).truncated
    assert client.sql("SELECT 0.1::DOUBLE, 0.10::DECIMAL(3, 2)").rows == [[0.1, Decimal("0.10")]]
    assert client.sql_csv(COUNTS).body == b'"msg_type","messages"\n1,2\n3,1\n'
    assert client.sql_arrow(COUNTS).to_pydict() == {"msg_type": [1, 3], "messages": [2, 1]}
    async with AsyncClient(installation=installation) as opened:
        assert (await opened.sql(COUNTS)).rows == result.rows
        assert (await opened.sql_csv(COUNTS, limit=1)).truncated
        assert (await opened.sql_arrow(COUNTS)).num_rows == 2
        with pytest.raises(InvalidRequestError, match="read_text"):
            await opened.sql("FROM read_text('/etc/passwd')")
    with pytest.raises(ForbiddenError):
        client.sql(COUNTS, unmask=True)
    with pytest.raises(LimitExceededError, match=r"memory|longer"):
        client.sql("SELECT length(repeat('x', 2000000000))")


@pytest.mark.usefixtures("asked")
def test_the_sql_command_in_each_form(standalone: Standalone) -> None:
    table = standalone.millrace(["sql", COUNTS]).stdout.decode()
    assert next(line.split() for line in table.splitlines() if line.strip()) == ["msg_type", "messages"]
    assert "2 rows, " in table
    shown = json.loads(standalone.millrace(["sql", COUNTS, "--json"]).stdout)
    assert (shown["rows"], shown["columns"][1]) == ([[1, 2], [3, 1]], {"name": "messages", "type": "BIGINT"})
    cut = standalone.millrace(["sql", COUNTS, "--csv", "--limit", "1"])
    assert cut.stdout == b'"msg_type","messages"\n1,2\n'
    assert b"more rows" in cut.stderr
    plan = standalone.millrace(["sql", f"EXPLAIN {COUNTS}"]).stdout.decode()
    assert "Read Parquet" in plan
    assert str(standalone.data) not in plan
    wide = standalone.millrace(["sql", "FROM messages LIMIT 1"]).stdout.decode()
    assert "row 1" in wide  # too many columns for a line
    wrong = standalone.millrace(["sql", "COPY messages TO 'a'"])
    assert (wrong.returncode, b"COPY is not allowed" in wrong.stderr) == (2, True)


@pytest.mark.usefixtures("asked")
def test_statements_from_a_pipe(standalone: Standalone, tmp_path: Path) -> None:
    file = tmp_path / "out.csv"
    script = f"\\d\n\\d messages\nSELECT 'a;b'\n -- ;\n AS x;\n{COUNTS};\n\\csv {file}\nSELECT 41 + 1 AS last"
    ended = standalone.millrace(["sql"], stdin=script.encode())
    shown = ended.stdout.decode()
    assert (ended.returncode, ended.stderr) == (0, b"")
    for part in ("dead_letters", "create_time", "TIMESTAMP WITH TIME ZONE", "a;b", "42"):
        assert part in shown
    assert file.read_bytes() == b'"msg_type","messages"\n1,2\n3,1\n'
    assert "millrace>" not in shown

    failed = standalone.millrace(["sql", "--csv"], stdin=b"SELECT 1 AS a;\nSELECT nope;\nSELECT 2;\n")
    assert (failed.returncode, failed.stdout) == (1, b'"a"\n1\n')
    assert b"nope" in failed.stderr


@pytest.mark.usefixtures("asked")
def test_the_prompt_at_a_terminal(standalone: Standalone, tmp_path: Path) -> None:
    file = tmp_path / "typed.csv"
    typed = [
        "\\?",
        "\\d",
        "SELECT count(*) AS n",
        "FROM messages WHERE from_username = 'sql';",
        f"\\csv {file}",
        "FROM nowhere;",
        "\\timing",
        "\\limit 1",
        "FROM range(3);",
        "\\nothing",
        "SELECT 'begun",
        "\\reset",
        "SELECT 'still here';",
        "\\q",
    ]
    shown, code = at_terminal(standalone, ["sql"], typed)
    assert code == 0
    assert shown.count("millrace> ") >= 10
    assert "..> " in shown
    for part in (
        "\\csv FILE",
        "dead_letters",
        "nowhere",
        "timing is off",
        "there are more",
        "no command \\nothing",
    ):
        assert part in shown, part
    assert "1 row," in shown
    assert "still here" in shown
    assert file.read_bytes() == b'"n"\n3\n'


def at_terminal(standalone: Standalone, arguments: list[str], lines: list[str]) -> tuple[str, int]:
    """What a pseudo terminal shows when these lines are typed, each after the prompt for it."""
    ours, theirs = pty.openpty()
    environ = environment(standalone.data, standalone.port_offset) | {"TERM": "dumb", "COLUMNS": "120"}
    process = subprocess.Popen(
        [MILLRACE, *arguments],
        env=environ,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    shown, waiting, deadline = "", list(lines), time.monotonic() + 60
    seen = 0
    while time.monotonic() < deadline:
        try:
            shown += os.read(ours, 65536).decode(errors="replace")
        except OSError:  # the other side is closed
            break
        if waiting and shown[seen:].endswith(("millrace> ", "..> ")):
            seen = len(shown)
            os.write(ours, (waiting.pop(0) + "\n").encode())
    os.close(ours)
    return shown, process.wait(10)


@pytest.mark.usefixtures("asked")
def test_plot_draws_what_there_is(standalone: Standalone) -> None:
    chosen = ["plot", "--start", DAY, "--end", DAY, "--sender", "sql"]
    counted = json.loads(standalone.millrace([*chosen, "--json"]).stdout)
    assert (counted["by"], counted["total"], len(counted["counts"])) == ("hour", 3, 24)
    assert [entry for entry in counted["counts"] if entry["messages"]] == [
        {"start": f"{DAY}T12:00:00Z", "messages": 2},
        {"start": f"{DAY}T13:00:00Z", "messages": 1},
    ]
    drawn = standalone.millrace([*chosen, "--height", "4"]).stdout.decode()
    assert "3 messages" in drawn
    assert "█" in drawn
    assert "03-05" in drawn
    minutes = json.loads(standalone.millrace([*chosen, "--by", "minute", "--msg-type", "3", "--json"]).stdout)
    assert (minutes["total"], len(minutes["counts"])) == (1, 1440)
    assert minutes["counts"][721] == {"start": f"{DAY}T12:01:00Z", "messages": 1}
    days = standalone.millrace(["plot", "--by", "day", "--start", DAY, "--end", DAY, "--sender", "o'hara"])
    assert "0 messages" in days.stdout.decode()
    wrong = standalone.millrace(["plot", "--start", "2026-03-06", "--end", DAY])
    assert (wrong.returncode, b"--start" in wrong.stderr) == (2, True)


def test_status_shows_every_service_ready(standalone: Standalone) -> None:
    ended = standalone.millrace(["status"])
    shown = ended.stdout.decode()
    assert ended.returncode == 0
    assert all(name in shown for name in ("id-service", "ingest-service", "query-service", "auth-service"))
    assert "down" not in shown
    assert "lake-writer" not in shown  # it works in the door's process here
    services = json.loads(standalone.millrace(["status", "--json"]).stdout)["services"]
    assert {service["state"] for service in services} == {"ready"}
    assert {service["name"]: service["lag"] for service in services} == {
        "id-service": None,
        "ingest-service": 0,
        "query-service": None,
        "auth-service": None,
    }


def test_a_url_and_a_key_find_the_same_installation(
    standalone: Standalone, installation: Installation
) -> None:
    url = installation.http_url("ingest-service")
    with Client(url, installation.require_key()) as client:
        assert client.count(DAY, DAY) >= 0
