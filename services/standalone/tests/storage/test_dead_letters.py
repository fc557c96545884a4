"""`millrace dead-letters` and `millrace trace` as a user types them (LAKE-91)."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from millrace.cli.app import build as build_app

from .conftest import result
from .test_query_command import payload

Command = Callable[..., Result]


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs `millrace …` with a data directory of its own, from another working directory."""
    monkeypatch.setenv("MILLRACE_DATA", str(tmp_path))
    monkeypatch.chdir("/")
    app = build_app()

    def run(*arguments: object, stdin: str | None = None) -> Result:
        return CliRunner().invoke(app, list(map(str, arguments)), input=stdin)

    return run


def text_of(**data: Any) -> str:
    import json

    return json.dumps(payload("1", **data))


def test_list_show_mend_and_list_again(command: Command, land: Callable[..., None], tmp_path: Path) -> None:
    land(payload("1", create_time=0, mobile="13905718264"), payload("2"), {"guid": "", "notify_type": 1006})
    listed = command("dead-letters", "list")
    assert listed.exit_code == 0
    assert listed.stdout.splitlines()[0] == "2 dead letters"
    name = "door-1/2026-03-14.jsonl/1/0"
    assert name in listed.stdout
    answer = result(command("dead-letters", "list", "--reason", "out_of_range", "--json"))
    assert [item["id"] for item in answer["items"]] == [name]
    assert not answer["items"][0]["landed"]
    assert "more; --offset 1" in command("dead-letters", "list", "--limit", 1).stdout

    shown = command("dead-letters", "show", name)
    assert "139****8264" in shown.stdout
    assert "13905718264" not in shown.stdout
    assert "13905718264" in command("dead-letters", "show", name, "--unmask").stdout

    again = command("dead-letters", "replay", name)
    assert again.exit_code == 65
    assert "0 landed, 0 had landed before, 1 refused" in again.stdout
    (tmp_path / "mended.json").write_text(text_of())
    done = command("dead-letters", "replay", name, "--body", tmp_path / "mended.json")
    assert done.exit_code == 0, done.stderr
    assert "1 letters: 1 landed" in done.stdout
    told = result(command("dead-letters", "replay", name, "--body", "-", "--json", stdin=text_of()))
    assert (told["landed"], told["already_landed"]) == (0, 1)
    assert [
        item["id"] for item in result(command("dead-letters", "list", "--landed", "--json"))["items"]
    ] == [name]
    assert result(command("dead-letters", "list", "--not-landed", "--json"))["total"] == 1
    assert result(command("storage", "query-by-id", "1", "--json"))["total"] == 1


def test_exit_codes_and_what_they_name(command: Command, land: Callable[..., None]) -> None:
    land(payload("1"))
    assert command("dead-letters", "list").stdout.splitlines()[0] == "0 dead letters"
    for arguments, code, names in (
        (("show", "door-1/2026-03-14.jsonl/1/0"), 66, "door-1/2026-03-14.jsonl/1/0"),
        (("show", "x"), 2, "id"),
        (("list", "--start", "2026-02-30"), 2, "start"),
        (("list", "--limit", "0"), 2, "limit"),
        (("replay",), 2, "which letters"),
        (("replay", "--all", "--reason", "x"), 2, "which letters"),
        (("replay", "x"), 2, "id"),
        (("replay", "--all"), 66, "no dead letter"),
        (("replay", "--all", "--body", "/nowhere"), 66, "/nowhere"),
        (("replay", "--end", "yesterday"), 2, "end"),
    ):
        done = command("dead-letters", *arguments)
        assert done.exit_code == code, (arguments, done.output)
        assert names in done.stderr, arguments
        assert done.stderr.splitlines()[-1].startswith("millrace dead-letters: ")


def test_without_a_lake(command: Command) -> None:
    for arguments in (("dead-letters", "list"), ("dead-letters", "replay", "--all"), ("trace", "1")):
        assert command(*arguments).exit_code == 66


def test_trace_of_a_row_and_its_repeat(command: Command, tmp_path: Path) -> None:
    import json

    for content in ("first", "again"):
        done = command("storage", "ingest-message", "-m", json.dumps(payload("1", content=content)))
        assert done.exit_code == 0, done.output
    told = result(command("trace", "1", "--json"))
    assert (told["accepted"]["line"], told["landed"]["table"]) == (1, "messages")
    assert [one["line"] for one in told["repeats"]] == [2]
    assert Path(told["file"]).is_file()
    assert (told["unknown"], told["relayed"]) == ([], None)
    shown = command("trace", "1", "--data", tmp_path).stdout.splitlines()
    assert [line.split()[0] for line in shown] == ["msg_id", "accepted", "landed", "now", "repeat"]
    unknown = command("trace", "2")
    assert unknown.exit_code == 66
    assert "msg_id 2" in unknown.stderr
