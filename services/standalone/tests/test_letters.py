"""Dead letters and the trace of a message in a running installation (LAKE-91, proof per row)."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from millrace.installation import DOOR_PORT
from millrace_testkit.builders import message, other
from millrace_testkit.stack import wait_until
from millrace_testkit.standalone import Standalone, running

pytestmark = pytest.mark.e2e

QUERY_PORT = 8081


def url(up: Standalone, port: int) -> str:
    return f"http://127.0.0.1:{port + up.port_offset}"


def test_a_letter_is_found_mended_landed_once_and_traced(tmp_path: Path) -> None:
    with running(tmp_path, "--no-sample") as up, httpx.Client(trust_env=False, timeout=30) as http:
        door, query = url(up, DOOR_PORT), url(up, QUERY_PORT)
        http.headers["X-API-Key"] = json.loads((tmp_path / "credentials.json").read_text())["user_key"]
        for body in (message("1", create_time=0), other(1), message("2"), message("2")):
            assert http.post(f"{door}/webhook/wechat", content=body).status_code == 200

        def letters(**parameters: str) -> list[dict[str, Any]]:
            answer = http.get(f"{query}/api/v1/dead-letters", params=parameters)
            assert answer.status_code == 200, answer.text
            found: list[dict[str, Any]] = answer.json()["items"]
            return found

        wait_until(lambda: len(letters()) == 1, 20, "a letter")
        (letter,) = letters(landed="false", reason="out_of_range")
        assert letter["replay"] == f"millrace dead-letters replay {letter['id']}"
        one = http.get(f"{query}/api/v1/dead-letters/{letter['id']}").json()["items"]
        assert one == [letter]
        # Beside the lake writer of this installation: by the door, and again by the command.
        ask = {"ids": [letter["id"]], "body": json.loads(message("1"))}
        done = http.post(f"{door}/api/v1/dead-letters/replay", json=ask)
        assert done.status_code == 200, done.text
        assert (done.json()["landed"], done.json()["refused"]) == (1, 0)
        (tmp_path / "mended.json").write_bytes(message("1"))
        again = up.millrace(
            ["dead-letters", "replay", letter["id"], "--body", str(tmp_path / "mended.json"), "--json"]
        )
        assert json.loads(again.stdout)["already_landed"] == 1
        wait_until(lambda: len(letters(landed="true")) == 1, 20, "it has landed")
        assert http.get(f"{query}/api/v1/messages/1").json()["src_line"] == 1
        # The lake writer goes on: what comes again is a repeat of the mended one.
        for body in (message("1"), message("3")):
            assert http.post(f"{door}/webhook/wechat", content=body).status_code == 200
        wait_until(lambda: http.get(f"{query}/api/v1/messages/3").status_code == 200, 20, "line 6 has landed")
        traced = json.loads(up.millrace(["trace", "2", "--json"]).stdout)
        assert (traced["accepted"]["line"], [one["line"] for one in traced["repeats"]]) == (3, [4])
        assert traced["landed"]["committed_at_ms"] >= traced["accepted"]["received_at_ms"]
        mended = json.loads(up.millrace(["trace", "1", "--json"]).stdout)
        assert sorted(one["line"] for one in mended["repeats"]) == [5]
        assert up.millrace(["trace", "nobody"]).returncode == 66
