"""The command line without a service: usage, settings, what an error looks like, exit codes."""

import gzip
import io
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from millrace.cli.metrics_text import values
from millrace.cli.rendering import write_csv, write_json, write_table
from millrace.cli.send import read_lines
from millrace.messages import Message
from millrace_testkit.ports import free_offset
from millrace_testkit.standalone import MILLRACE, environment


def millrace(*arguments: str, data: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    environ = environment(data, free_offset()) | settings
    return subprocess.run(
        [MILLRACE, *arguments], env=environ, capture_output=True, text=True, timeout=60, check=False
    )


def write_credentials(data: Path) -> None:
    (data / "credentials.json").write_text(
        '{"workspace":"demo","admin_key":"idgen_global_a","user_key":"idgen_demo_a"}'
    )


def test_version_is_printed_without_loading_the_command_line(tmp_path: Path) -> None:
    assert millrace("--version", data=tmp_path).stdout == "millrace 1.0.0\n"
    loaded = subprocess.run(
        [sys.executable, "-X", "importtime", MILLRACE, "--version"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert not {"typer", "grpc", "rich", "httpx"} & {
        line.rsplit("|", 1)[1].strip() for line in loaded.stderr.splitlines() if "|" in line
    }


def test_help_lists_every_command_and_loads_no_service() -> None:
    code = (
        "import sys, millrace.cli.app as app; app.build(); "
        "print([m for m in ('grpc','httpx','fastapi','pyarrow','duckdb','standalone.up') if m in sys.modules])"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout == "[]\n"
    shown = subprocess.run([MILLRACE, "--help"], capture_output=True, text=True, check=True).stdout
    assert all(command in shown for command in ("up", "send", "query", "sql", "plot", "status"))


def test_nobody_answers(tmp_path: Path) -> None:
    write_credentials(tmp_path)
    (tmp_path / "lines").write_text('{"a":1}\n')
    for arguments in (
        ("query", "--start", "2026-01-01", "--end", "2026-01-02"),
        ("sql", "SELECT 1"),
        ("plot",),
        ("send", str(tmp_path / "lines")),
        ("status",),
    ):
        ended = millrace(*arguments, data=tmp_path)
        assert ended.returncode == 1
        assert "millrace up" in ended.stderr
        assert "Traceback" not in ended.stderr


def test_no_installation_is_found(tmp_path: Path) -> None:
    ended = millrace("query", "--start", "2026-01-01", "--end", "2026-01-02", data=tmp_path)
    assert ended.returncode == 1
    assert str(tmp_path) in ended.stderr
    assert "millrace up" in ended.stderr


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("query", "--start", "2026-01-01"), "--end"),
        (("query", "--start", "2026-01-01", "--end", "2026-01-01", "--msg-type", "x"), "--msg-type"),
        (("query", "--start", "2026-01-01", "--end", "2026-01-01", "--limit", "0"), "--limit"),
        (("query", "--start", "2026-01-01", "--end", "2026-01-01", "--json", "--csv"), "--csv"),
        (("sql", "SELECT 1", "--json", "--csv"), "--csv"),
        (("sql", "SELECT 1", "--limit", "0"), "--limit"),
        (("plot", "--by", "week"), "--by"),
        (("plot", "--start", "2026-3-1"), "--start"),
        (("plot", "--by", "minute", "--start", "2020-01-01", "--end", "2026-01-01"), "--by"),
        (("status", "--port-offset", "many"), "--port-offset"),
        (("send",), "FILE"),
        (("fly",), "fly"),
    ],
)
def test_wrong_usage_ends_with_2_and_names_what_is_wrong(
    arguments: tuple[str, ...], named: str, tmp_path: Path
) -> None:
    ended = millrace(*arguments, data=tmp_path)
    assert ended.returncode == 2
    assert named in ended.stderr


def test_a_missing_file_and_a_malformed_url_are_named(tmp_path: Path) -> None:
    write_credentials(tmp_path)
    missing = millrace("send", str(tmp_path / "none.jsonl"), data=tmp_path)
    assert (missing.returncode, "none.jsonl" in missing.stderr) == (1, True)
    malformed = millrace("status", data=tmp_path, MILLRACE_URL="nowhere")
    assert (malformed.returncode, "MILLRACE_URL" in malformed.stderr) == (1, True)


def source(content: bytes) -> io.BufferedReader:
    return io.BufferedReader(io.BytesIO(content))


TEXT = b'{"a":1}\n\n  \r\n{"b":2}\r\n{"c":3}'


@pytest.mark.parametrize("content", [TEXT, gzip.compress(TEXT)], ids=["plain", "gz"])
def test_lines_keep_their_numbers_and_blank_ones_are_skipped(content: bytes) -> None:
    lines = [(line.number, line.body) for line in read_lines(source(content))]
    assert lines == [(1, b'{"a":1}'), (4, b'{"b":2}'), (5, b'{"c":3}')]


def test_json_and_csv_have_the_columns_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [Message(msg_id="1", content='a "b",\nc'), Message(msg_id="2")]
    write_json(2, rows, ("msg_id", "content"))
    assert capsys.readouterr().out == (
        '{"total": 2, "items": [\n{"msg_id":"1","content":"a \\"b\\",\\nc"},\n{"msg_id":"2","content":null}\n]}\n'
    )
    write_csv(rows, ("content", "msg_id"))
    assert capsys.readouterr().out == 'content,msg_id\r\n"a ""b"",\nc",1\r\n,2\r\n'


def test_no_rows_are_valid_json(capsys: pytest.CaptureFixture[str]) -> None:
    write_json(0, [], ("msg_id",))
    assert capsys.readouterr().out == '{"total": 0, "items": [\n]}\n'


def test_a_table_cuts_prose_to_the_terminal_and_keeps_the_rest(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    assert Console().width == 60
    write_table(
        9, [Message(msg_id="7304418832500010773", content="word [b]x[/b] " * 20)], ("msg_id", "content")
    )
    shown = capsys.readouterr().out
    assert "7304418832500010773" in shown
    assert "word [b]x[/b]" in shown
    assert "…" in shown
    assert "1 of 9 messages" in shown
    assert max(map(len, shown.splitlines())) <= 60


def test_metrics_are_read_by_label() -> None:
    text = '# TYPE lag gauge\nlag{p="a/0",q="x"} 2.0\nlag{p="b \\"}/1"} 3.0\nlag_max{p="c"} 9.0\n# TYPE empty gauge\n'
    assert values(text, "lag", "p") == {"a/0": 2, 'b \\"}/1': 3}
    assert values(text, "empty", "p") == {}
    assert values(text, "absent", "p") is None
