"""`millrace up` as a new user meets it."""

import json
import re
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from millrace_testkit.ports import free_offset
from millrace_testkit.standalone import Standalone, running
from standalone import sample

pytestmark = pytest.mark.e2e

JANUARY = ["--start", "2026-01-01", "--end", "2026-01-30"]


def printed_commands(output: str, first_word: str) -> list[str]:
    return re.findall(rf"^  ((?:\S*/)?{first_word} .*)$", output, re.MULTILINE)


def run_as_pasted(command: str) -> str:
    return subprocess.run(command, shell=True, capture_output=True, text=True, check=True, timeout=60).stdout


def journal_lines(data: Path) -> int:
    return sum(journal.read_bytes().count(b"\n") for journal in (data / "messages/raw").glob("*.jsonl"))


def test_the_first_start_shows_the_sample_and_the_second_keeps_it(tmp_path: Path) -> None:
    data = tmp_path / "data"
    truth = sample.truth()
    with running(data) as first:
        output = "".join(first.output)
        generate, search = printed_commands(output, "curl")
        assert int(json.loads(run_as_pasted(generate))["id"]) > 0
        day = json.loads(run_as_pasted(search))
        assert day["total"] == truth.messages_per_day["2026-01-01"]
        (cli,) = printed_commands(output, "millrace")
        assert f"of {truth.distinct_messages} messages" in run_as_pasted(cli)
        assert (data / "credentials.json").stat().st_mode & 0o777 == 0o600
        assert first.millrace(["status"]).returncode == 0
        found = json.loads(first.millrace(["query", *JANUARY, "--json"]).stdout)
        assert found["total"] == len(found["items"]) == truth.distinct_messages
        assert journal_lines(data) == truth.lines
        assert first.stop() == 0
    with running(data) as second:
        assert "replaying" not in "".join(second.output)
        again = json.loads(second.millrace(["query", *JANUARY, "--json"]).stdout)
        assert again == found
        assert journal_lines(data) == truth.lines
        assert second.stop(signal.SIGTERM) == 0
    logged = (data / "logs/millrace.log").read_text()
    credentials = json.loads((data / "credentials.json").read_text())
    assert credentials["user_key"] not in logged
    assert credentials["user_key"] not in output


def test_a_start_killed_while_it_replays_replays_again(tmp_path: Path) -> None:
    first = Standalone.start(tmp_path)
    assert first.process.stdout is not None
    assert "replaying" in first.process.stdout.readline()
    first.process.kill()
    first.wait()
    assert (tmp_path / "metadata/sample").read_text() == "replaying\n"
    with running(tmp_path) as second:
        assert "replaying" in "".join(second.output)
        found = json.loads(second.millrace(["query", *JANUARY, "--limit", "1", "--json"]).stdout)
        assert found["total"] == sample.truth().distinct_messages


def test_a_stop_while_it_replays_is_clean(tmp_path: Path) -> None:
    started = Standalone.start(tmp_path)
    assert started.process.stdout is not None
    assert "replaying" in started.process.stdout.readline()
    assert started.stop() == 0
    assert (tmp_path / "metadata/sample").read_text() == "replaying\n"


def test_without_the_sample_nothing_is_there_and_a_second_owner_is_refused(tmp_path: Path) -> None:
    with running(tmp_path, "--no-sample") as started:
        assert json.loads(started.millrace(["query", *JANUARY, "--json"]).stdout) == {"total": 0, "items": []}
        second = Standalone.start(tmp_path)
        assert second.wait() == 1
        assert "in use" in second.output[-1]
        assert str(tmp_path) in second.output[-1]
        assert "MILLRACE_DATA" in second.output[-1]
        # two SIGINT at once, as timeout(1) and some terminals send them, are one request to stop
        started.process.send_signal(signal.SIGINT)
        assert started.stop() == 0


def test_a_taken_port_ends_the_start_naming_port_and_option(tmp_path: Path) -> None:
    offset = free_offset()
    with socket.create_server(("127.0.0.1", 9093 + offset)):
        refused = Standalone.start(tmp_path, port_offset=offset)
        assert refused.wait() == 1
    assert f"port {9093 + offset}" in refused.output[-1]
    assert "--port-offset" in refused.output[-1]
    assert not (tmp_path / "credentials.json").exists()


def test_a_misspelt_setting_ends_the_start_naming_it(tmp_path: Path) -> None:
    refused = Standalone.start(tmp_path, extra_environment={"MILLRACE_LAND_MAX_ROW": "5"})
    assert refused.wait() == 78
    assert "MILLRACE_LAND_MAX_ROWS" in refused.output[-1]
    assert "Traceback" not in refused.output[-1]
