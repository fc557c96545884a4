"""The door over real HTTP: what is answered, what is on disk, what a hostile sender can do."""

import asyncio
import base64
import json
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest_service.jsontext import NotAnObject, one_line, parse_object
from millrace_ports.journal import JournalRoot
from millrace_testkit.clock import ManualClock


@contextmanager
def read_only(directory: Path) -> Iterator[None]:
    """For root too, where the file system has immutable directories."""
    if os.geteuid() == 0 and subprocess.run(["chattr", "+i", directory], capture_output=True).returncode:
        pytest.skip("root, on a file system without immutable directories")
    directory.chmod(0o555) if os.geteuid() else None
    try:
        yield
    finally:
        subprocess.run(["chattr", "-i", directory], capture_output=True)
        directory.chmod(0o755)


LATE_ON_MARCH_14 = 1_773_532_799_000  # 2026-03-14T23:59:59Z


async def test_an_object_is_durable_when_it_is_answered(door: Any) -> None:
    """LAKE-10, LAKE-12."""
    body = '{"guid":"g","notify_type":1010,\r\n  "data":{"content":"第三版 📎\\n10:30","n":18446744073709551617}}'
    answer = await door.post(body.encode())
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json().keys() == {"status", "request_id"}
    assert answer.json()["status"] == "ok"
    assert UUID(answer.json()["request_id"]).version == 4
    (line,) = door.journal()
    assert line == body.replace("\r\n", "  ").encode()
    assert json.loads(line) == json.loads(body)
    assert not door.journal("rejected")


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "", "x"])
async def test_any_content_type_will_do_for_an_object(door: Any, content_type: str) -> None:
    """LAKE-12."""
    assert (await door.post(b'{"a":1}', content_type)).status_code == 200
    assert door.journal() == [b'{"a":1}']


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"hello", "malformed"),
        (b'{"guid":', "malformed"),
        (b"[1,2]", "not_an_object"),
        (b'"text"', "not_an_object"),
        (b"17", "not_an_object"),
        (b"null", "not_an_object"),
        (b"NaN", "malformed"),
        (b'{"a":NaN}', "malformed"),
        (b'{"a":-Infinity}', "malformed"),
        (b'{"a":1e999}', "number_out_of_range"),
        (b'{"a":1}{"b":2}', "malformed"),
        (b'\xef\xbb\xbf{"a":1}', "malformed"),
        (b'{"a":"line\nbreak"}', "malformed"),
        (b"", "empty"),
        (b" \r\n ", "empty"),
        ("中文".encode(), "malformed"),
    ],
)
async def test_anything_else_is_kept_whole_and_answered_200(door: Any, body: bytes, reason: str) -> None:
    """LAKE-12, LAKE-15, LAKE-S17."""
    answer = await door.post(body, "text/plain; charset=utf-8")
    assert (answer.status_code, answer.json()["status"]) == (200, "ok")
    assert door.journal() == []
    (line,) = door.rejected()
    assert line.pop("error_message")
    assert line.pop("received_at").endswith("Z")
    assert line == {
        "request_id": answer.json()["request_id"],
        "client_ip": "127.0.0.1",
        "content_type": "text/plain; charset=utf-8",
        "body_length": len(body),
        "body_text": body.decode(),
        "body_base64": None,
        "parsed_form": None,
        "error_type": "parse_error",
        "reason": reason,
    }


async def test_bytes_that_are_not_utf8_are_kept_losslessly(door: Any) -> None:
    """LAKE-13."""
    for body in (b'{"a":"\xff\xfe"}', b"\x00\xff\n\r", '{"a":"é"}'.encode("utf-16")):
        assert (await door.post(body)).status_code == 200
        line = door.rejected()[-1]
        assert line["body_text"] is None
        assert base64.b64decode(line["body_base64"]) == body
    assert door.rejected()[0]["reason"] == "not_utf8"


async def test_a_form_is_recorded_with_its_fields(door: Any) -> None:
    """LAKE-13."""
    form = "a=1&a=2&empty=&name=%E7%8E%8B+x&bad=%FF"
    await door.post(form.encode(), "application/x-www-form-urlencoded; charset=utf-8")
    (line,) = door.rejected()
    assert line["parsed_form"] == {"a": "1", "empty": "", "name": "王 x", "bad": "\ufffd"}
    assert line["body_text"] == form


@pytest.mark.parametrize(
    "body",
    [
        b'{"a":1,"a":2}',
        b'{"a":"\\ud800","b":"\\udc00\\ud83d"}',
        b'{"n":18446744073709551616,"m":-9223372036854775809,"big":' + b"7" * 400 + b"}",
        b'{"a":"\\u0000\\n\\u2028"}',
        b"{}",
    ],
)
async def test_hard_objects_keep_their_own_bytes(door: Any, body: bytes) -> None:
    """LAKE-12, LAKE-30."""
    assert (await door.post(body)).status_code == 200
    assert door.journal() == [body]


async def test_five_megabytes_are_taken(door: Any) -> None:
    """LAKE-14."""
    body = b'{"data":"' + b"x" * (5 * 1024 * 1024) + b'"}'
    assert (await door.post(body)).status_code == 200
    assert door.journal() == [body]


async def test_deep_nesting_goes_whole_to_the_reject_journal(door: Any) -> None:
    """LAKE-12."""
    body = b'{"a":' * 100_000 + b"1" + b"}" * 100_000
    assert (await door.post(body)).status_code == 200
    (line,) = door.rejected()
    assert (line["reason"], line["body_text"]) == ("too_deep", body.decode())
    assert (await door.post(b'{"a":1}')).status_code == 200


async def test_fifty_at_once_are_fifty_whole_lines(door: Any) -> None:
    """LAKE-S15."""
    bodies = [json.dumps({"n": n, "pad": "x" * (n * 313 % 9000)}).encode() for n in range(50)]
    answers = await asyncio.gather(*map(door.post, bodies))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["request_id"] for answer in answers}) == 50
    assert sorted(door.journal()) == sorted(bodies)
    assert door.metric("millrace_accepted_total") == 50
    assert 0 < door.metric("millrace_fsync_seconds_count") <= 50


async def test_health_counts_what_was_answered_200(door: Any) -> None:
    """LAKE-11, the fields of LAKE 2.1."""
    await door.post(b"{}")
    await door.post(b"junk")
    status, health = await door.health()
    assert status == 200
    assert health.pop("uptime_seconds") >= 0
    assert health == {
        "status": "healthy",
        "version": "1.0.0",
        "message_count": 2,
        "log_writable": True,
        "journal_writable": True,
        "error": None,
    }


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"])
async def test_other_methods_are_405(door: Any, method: str) -> None:
    """LAKE 2.1."""
    answer = await door.client.request(method, "/webhook/wechat")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    answer = await door.client.request("POST", "/health")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET")
    assert answer.json()["error"]["message"] == "use GET"


@pytest.mark.parametrize("path", ["/", "/webhook", "/webhook/wechat/", "/Health", "/%00"])
async def test_unknown_paths_are_404(door: Any, path: str) -> None:
    answer = await door.client.post(path, content=b"{}")
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "IDGEN-RES-2007"
    assert door.journal() == []


async def test_the_body_limit_is_413_announced_or_not(tmp_path: Path, open_door: Any) -> None:
    """LAKE-14."""

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(40):
            yield b"x" * 50_000

    async with open_door(tmp_path, webhook_max_body_mb=1) as door:
        assert (await door.post(b'{"a":"' + b"x" * 1_000_000 + b'"}')).status_code == 200
        announced = await door.post(b"x" * 1_100_000)
        assert announced.status_code == 413
        assert announced.json()["error"]["code"] == "IDGEN-COMMON-0006"
        chunked = await door.client.post("/webhook/wechat", content=pieces())
        assert chunked.status_code == 413
        assert (len(door.journal()), door.journal("rejected")) == (1, [])
        assert (await door.health())[1]["message_count"] == 1


async def test_a_slow_sender_is_served_and_delays_nobody(door: Any) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", door.endpoint.http_port)
    body = b'{"slow":true}'
    writer.write(b"POST /webhook/wechat HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % len(body))
    for index in range(len(body)):
        writer.write(body[index : index + 1])
        await writer.drain()
        assert (await door.post(b'{"n":%d}' % index)).status_code == 200
    assert (await reader.readline()).startswith(b"HTTP/1.1 200")
    writer.close()
    await writer.wait_closed()
    assert body in door.journal()
    assert len(door.journal()) == len(body) + 1


@pytest.mark.parametrize(
    "head",
    [b"Content-Length: 1000\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n5\r\n"],
)
async def test_a_sender_gone_half_way_leaves_nothing(door: Any, head: bytes) -> None:
    """LAKE-10."""
    for _ in range(5):
        _, writer = await asyncio.open_connection("127.0.0.1", door.endpoint.http_port)
        writer.write(b"POST /webhook/wechat HTTP/1.1\r\nHost: h\r\n" + head + b'{"a":')
        await writer.drain()
        await door.health()
        writer.transport.abort()
    assert (await door.post(b'{"whole":1}')).status_code == 200
    assert door.journal() == [b'{"whole":1}']
    assert door.rejected() == []
    status, health = await door.health()
    assert (status, health["message_count"]) == (200, 1)


async def test_a_journal_that_cannot_be_written_is_503_until_it_can(door: Any) -> None:
    """LAKE-10, LAKE-11."""
    raw = door.data / "messages" / "raw"
    raw.parent.mkdir()
    raw.write_bytes(b"a file in the directory's place")
    answer = await door.post(b'{"a":1}')
    assert answer.status_code == 503
    assert answer.json() | {"request_id": ""} == {
        "status": "error",
        "message": "Storage unavailable",
        "request_id": "",
    }
    UUID(answer.json()["request_id"])
    status, health = await door.health()
    assert (status, health["status"], health["journal_writable"]) == (503, "unhealthy", False)
    assert "raw" in health["error"]
    assert health["message_count"] == 0
    assert (await door.post(b"not json")).status_code == 200  # the reject journal works
    assert door.metric("millrace_refused_total") == 1

    raw.unlink()
    status, health = await door.health()
    assert (status, health["status"], health["error"]) == (200, "healthy", None)
    assert (await door.post(b'{"a":1}')).status_code == 200
    assert door.journal() == [b'{"a":1}']


async def test_a_read_only_directory_is_503_and_heals(door: Any) -> None:
    """LAKE-S14, with a journal of today already open."""
    assert (await door.post(b'{"a":1}')).status_code == 200
    raw = door.data / "messages" / "raw"
    with read_only(raw):
        assert (await door.post(b'{"a":2}')).status_code == 503
        assert (await door.health())[0] == 503
    assert (await door.health())[0] == 200
    assert (await door.post(b'{"a":2}')).status_code == 200
    assert door.journal() == [b'{"a":1}', b'{"a":2}']


async def test_health_turns_bad_without_a_post(door: Any) -> None:
    """LAKE-11."""
    (door.data / "messages").write_bytes(b"")
    status, health = await door.health()
    assert (status, health["journal_writable"]) == (503, False)
    ready = await door.client.get(f"http://127.0.0.1:{door.endpoint.management_port}/ready")
    assert ready.status_code == 503
    (door.data / "messages").unlink()
    assert (await door.health())[0] == 200


async def test_a_log_that_cannot_be_written_is_unhealthy_while_posts_are_kept(door: Any) -> None:
    """LAKE-11."""
    (door.data / "logs").write_bytes(b"")
    assert (await door.post(b"{}")).status_code == 200
    status, health = await door.health()
    assert (status, health["log_writable"], health["journal_writable"]) == (503, False, True)
    assert "wechat_webhook.log" in health["error"]
    (door.data / "logs").unlink()
    async with asyncio.timeout(10):
        while (await door.health())[0] != 200:  # noqa: ASYNC110 as a client would
            await asyncio.sleep(0.05)


async def test_midnight_under_load(tmp_path: Path, open_door: Any) -> None:
    """LAKE-30."""
    clock = ManualClock(LATE_ON_MARCH_14)
    async with open_door(tmp_path, clock) as door:

        async def send(sender: int) -> None:
            for number in range(25):
                assert (await door.post(b'{"s":%d,"n":%d}' % (sender, number))).status_code == 200
                clock.advance(0.02)

        await asyncio.gather(*map(send, range(4)))
        raw = JournalRoot(tmp_path / "messages" / "raw")
        assert raw.days() == ["2026-03-14", "2026-03-15"]
        assert len(set(door.journal())) == 100


async def test_every_post_has_one_log_record_without_content(door: Any) -> None:
    """LAKE-16, LAKE-17: who sent it is told by address and headers."""
    secret = "王敏 13905718264"
    headers = {"Authorization": "Bearer abc", "Cookie": "sid=abc", "X-Api-Key": "abc", "X-Sender": "gw-7"}
    bodies = [json.dumps({"content": secret}).encode(), f"no json {secret}".encode(), secret.encode("gbk")]
    answers = [await door.client.post("/webhook/wechat", content=b, headers=headers) for b in bodies]
    log = door.data / "logs" / "wechat_webhook.log"
    async with asyncio.timeout(10):
        while not log.exists() or log.read_bytes().count(b"\n") < 3:  # noqa: ASYNC110 a file
            await asyncio.sleep(0.02)
    text = log.read_text()
    assert "王敏" not in text
    assert "139057" not in text
    assert "abc" not in text
    records = [json.loads(line) for line in text.splitlines()]
    assert [record["request_id"] for record in records] == [a.json()["request_id"] for a in answers]
    assert [record["body_length"] for record in records] == [len(body) for body in bodies]
    assert [bool(record["parse_error"]) for record in records] == [False, True, True]
    first = records[0]
    assert first["headers"]["authorization"] == first["headers"]["cookie"] == "***"
    assert first["headers"]["x-sender"] == "gw-7"
    assert first["timestamp"].endswith("Z")
    assert first["processing_time_ms"] >= 0
    assert (first["client_ip"], first["method"], first["path"]) == ("127.0.0.1", "POST", "/webhook/wechat")
    assert "content_type" in first


async def test_the_log_rotates_at_100_mb_and_keeps_ten_old_files(tmp_path: Path, open_door: Any) -> None:
    """LAKE-16, at its defaults."""
    logs = tmp_path / "logs"
    logs.mkdir()
    log = logs / "wechat_webhook.log"
    full = 100 * 1024 * 1024 - 20
    with log.open("wb") as file:
        file.seek(full - 1)
        file.write(b"\n")
    for number in range(1, 11):
        log.with_name(f"{log.name}.{number}").write_text(f"{number}")
    async with open_door(tmp_path) as door:
        assert (await door.post(b"{}")).status_code == 200
    assert json.loads(log.read_text())["body_length"] == 2
    assert log.with_name(f"{log.name}.1").stat().st_size == full
    assert [log.with_name(f"{log.name}.{number}").read_text() for number in range(2, 11)] == list("123456789")
    assert len(list(logs.iterdir())) == 11


class BrokenClock(ManualClock):
    """Tells the time to everybody but the reject journal's lines, while it is broken."""

    broken = False

    def now_ms(self) -> int:
        if self.broken:
            raise LookupError("a secret detail")
        return super().now_ms()


async def test_a_fault_of_the_door_is_500_and_not_its_end(tmp_path: Path, open_door: Any) -> None:
    """LAKE 2.1, LAKE-12."""
    clock = BrokenClock(LATE_ON_MARCH_14)
    async with open_door(tmp_path, clock) as door:
        clock.broken = True
        answer = await door.post(b"junk")
        clock.broken = False
        assert (answer.status_code, answer.json()) == (
            500,
            {"status": "error", "message": "Internal server error", "error_type": "LookupError"},
        )
        assert (await door.post(b"junk")).status_code == 200
        assert door.metric("millrace_failed_total") == 1
        assert len(door.rejected()) == 1


CANARY = "canary-王敏-13905718264"


@given(
    st.text(max_size=20),
    st.sampled_from([b"", b"}", b"\xff", b",", b'"', b"\\u00", b"1e999", b"NaN"]),
    st.integers(0, 200),
)
def test_why_a_body_was_rejected_tells_nothing_of_it(text: str, junk: bytes, cut: int) -> None:
    """LAKE-16: `parse_error` of the log is this text."""
    body = json.dumps(
        {"data": {"content": CANARY + text, "mobile": CANARY, "customInfo": {"detail": CANARY}}}
    ).encode()
    for broken in (body[:cut] + junk, junk + body, body[:-1] + junk, body[:cut] + junk + body[cut:]):
        try:
            parse_object(broken)
        except NotAnObject as refused:
            told = f"{refused.reason}: {refused.message}"
            assert "canary" not in told
            assert "1390" not in told
            assert len(told) < 200


@given(st.dictionaries(st.text(), st.text() | st.integers() | st.none() | st.floats(allow_nan=False)))
def test_one_line_keeps_the_value(value: dict[str, object]) -> None:
    body = json.dumps(value, indent=2, ensure_ascii=False).replace("\n", "\r\n")
    line = one_line(body.encode(errors="surrogatepass"))
    assert b"\n" not in line
    assert json.loads(line.decode(errors="surrogatepass")) == value
