"""Configured sources: what their file may say, and the door that asks for signatures."""

import hashlib
import hmac
import json
import os
from pathlib import Path
from typing import Any

import pytest

from ingest_service.accept.sources import load_guards
from millrace_runtime.settings import SettingsError
from millrace_testkit.clock import ManualClock

GITHUB = """
sources:
  - name: github
    path: /webhook/github
    signature:
      scheme: github
      secrets: [{env: NEW_SECRET}, {file: SECRET_FILE}]
"""
TIMED = """
sources:
  - name: gateway
    path: /webhook/wechat
    signature:
      scheme: hmac-sha256
      header: X-Gateway-Proof
      timestamp_header: X-Gateway-Time
      secrets: [{env: NEW_SECRET}]
  - name: other
    path: /webhook/other
"""
NOW_MS = 1_773_489_600_000
NEW, OLD = "fresh and new", "It's a Secret to Everybody"


@pytest.fixture
def file(tmp_path: Path, open_door: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NEW_SECRET", NEW)
    (tmp_path / "old").write_text(f"{OLD}\n")
    return tmp_path / "sources.yaml"


def write(file: Path, text: str) -> Path:
    file.write_text(text.replace("SECRET_FILE", str(file.parent / "old")))
    return file


def github(secret: str, body: bytes) -> dict[str, str]:
    return {"X-Hub-Signature-256": "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}


def timed(body: bytes, at_s: int = NOW_MS // 1000) -> dict[str, str]:
    proof = hmac.new(NEW.encode(), f"{at_s}.".encode() + body, hashlib.sha256).hexdigest()
    return {"X-Gateway-Time": str(at_s), "X-Gateway-Proof": proof}


async def log_records(data: Path, count: int) -> list[dict[str, Any]]:
    import asyncio

    log = data / "logs" / "wechat_webhook.log"
    async with asyncio.timeout(10):
        while not log.exists() or log.read_bytes().count(b"\n") < count:  # noqa: ASYNC110 a file
            await asyncio.sleep(0.02)
    return [json.loads(line) for line in log.read_text().splitlines()]


async def test_a_signed_source_takes_what_either_secret_signs_and_nothing_else(
    file: Path, tmp_path: Path, open_door: Any
) -> None:
    body = b'{"guid":"g","notify_type":1006,"data":{}}'
    async with open_door(tmp_path, webhook_sources_file=write(file, GITHUB)) as door:

        async def post(content: bytes, headers: dict[str, str]) -> Any:
            return await door.client.post("/webhook/github", content=content, headers=headers)

        for secret in (NEW, OLD):
            assert (await post(body, github(secret, body))).status_code == 200
        junk = b"no json"
        assert (await post(junk, github(OLD, junk))).status_code == 200  # LAKE-12 holds for signed bodies too
        big = b'{"a":"' + b"x" * (2 << 20) + b'"}'
        assert (await post(big, github(NEW, big))).status_code == 200
        for content, headers, why in [
            (body, {}, "the header x-hub-signature-256 is missing"),
            (body + b" ", github(NEW, body), "no signature matches"),
            (body, github("guess", body), "no signature matches"),
            (big + b" ", github(NEW, big), "no signature matches"),
        ]:
            refused = await post(content, headers)
            assert refused.status_code == 401
            assert refused.headers["www-authenticate"] == "Signature"
            assert refused.json()["error"]["code"] == "IDGEN-COMMON-0002"
            assert refused.json()["error"]["message"] == f"signature: {why}"
        assert (await door.post(b'{"open":1}')).status_code == 200  # the webhook's own route asks for nothing
        assert door.journal() == [body, body, big, b'{"open":1}']
        assert [line["body_text"] for line in door.rejected()] == ["no json"]
        assert (await door.health())[1]["message_count"] == 5
        assert door.metric("millrace_unsigned_total") == 4
    records = await log_records(tmp_path, 9)
    assert [record["status"] for record in records] == [200] * 4 + [401] * 4 + [200]
    assert {record["headers"].get("x-hub-signature-256", "***") for record in records} == {"***"}
    text = (tmp_path / "logs/wechat_webhook.log").read_text()
    assert NEW not in text
    assert OLD not in text


async def test_a_signed_request_is_stored_once_and_not_too_late(
    file: Path, tmp_path: Path, open_door: Any
) -> None:
    clock = ManualClock(NOW_MS)
    async with open_door(tmp_path, clock, webhook_sources_file=write(file, TIMED)) as door:

        async def post(body: bytes, headers: dict[str, str]) -> int:
            answer = await door.client.post("/webhook/wechat", content=body, headers=headers)
            return int(answer.status_code)

        body = b'{"n":1}'
        first = timed(body)
        assert [await post(body, first) for _ in range(3)] == [200] * 3
        assert door.journal() == [body]  # sent again as it was, or recorded by somebody: stored once
        assert door.metric("millrace_replayed_total") == 2
        clock.advance(301)
        assert await post(body, first) == 401
        again = timed(body, NOW_MS // 1000 + 301)
        assert await post(body, again) == 200  # the sender itself, later: a new request
        assert await post(body, {}) == 401  # the route is that of the webhook: no way around
        assert door.journal() == [body, body]
        assert (await door.client.post("/webhook/other", content=b'{"o":1}')).status_code == 200
        assert door.journal() == [body, body, b'{"o":1}']
    records = await log_records(tmp_path, 7)
    assert records[1]["parse_error"] == "replayed: stored already"
    assert records[3]["parse_error"] == "signature: the timestamp is more than 300 s old"
    assert records[0]["headers"]["x-gateway-proof"] == "***"


async def test_what_could_not_be_stored_may_come_again(file: Path, tmp_path: Path, open_door: Any) -> None:
    async with open_door(tmp_path, ManualClock(NOW_MS), webhook_sources_file=write(file, TIMED)) as door:
        (tmp_path / "messages").write_bytes(b"in the way")
        body = b'{"n":1}'
        headers = timed(body)
        answer = await door.client.post("/webhook/wechat", content=body, headers=headers)
        assert answer.status_code == 503
        (tmp_path / "messages").unlink()
        answer = await door.client.post("/webhook/wechat", content=body, headers=headers)
        assert answer.status_code == 200
        assert door.journal() == [body]


SIGNED = "sources:\n- {name: a, path: /a, signature: {%s}}\n"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "Input should be"),
        ("sources: {}", "sources: Input should be a valid list"),
        ("sources:\n- {name: a}", "sources.0.path: Field required"),
        ("sources:\n- {name: A b, path: /a}", "sources.0.name: "),
        ("sources:\n- {name: a, path: a}", "sources.0.path: "),
        ("sources:\n- {name: a, path: /a, dataset: x}", "sources.0.dataset: Extra inputs are not permitted"),
        ("sources:\n- {name: a, path: /a}\n- {name: a, path: /b}", "sources.1.name: a is taken"),
        ("sources:\n- {name: a, path: /a}\n- {name: b, path: /a}", "sources.1.path: /a is taken"),
        ("sources:\n- {name: a, path: /health}", "/health is that of MILLRACE_WEBHOOK_HEALTH_PATH"),
        ("sources: [", "line 1: not YAML"),
        (SIGNED % "scheme: md5, secrets: [{env: NEW_SECRET}]", "sources.0.signature: "),
        (SIGNED % "scheme: github", "sources.0.signature.secrets: Field required"),
        (SIGNED % "scheme: github, secrets: []", "sources.0.signature.secrets: "),
        (SIGNED % "scheme: github, secrets: [hunter2]", "sources.0.signature.secrets.0: "),
        (
            SIGNED % "scheme: github, secrets: [{}]",
            "sources.0.signature.secrets.0: must have one of env and file",
        ),
        (
            SIGNED % "scheme: github, secrets: [{env: NONE_SUCH}]",
            "secrets.0: the environment has no NONE_SUCH",
        ),
        (SIGNED % "scheme: github, secrets: [{file: rel}]", "secrets.0: rel must be an absolute path"),
        (SIGNED % "scheme: github, secrets: [{file: /no/where}]", "secrets.0: /no/where cannot be read"),
        (SIGNED % "scheme: standard-webhooks, secrets: [{env: NEW_SECRET}]", "secrets.0: must be base64"),
        (SIGNED % "scheme: github, tolerance_s: 5, secrets: [{env: NEW_SECRET}]", "signature.tolerance_s: "),
        (SIGNED % "scheme: stripe, tolerance_s: 0, secrets: [{env: NEW_SECRET}]", "signature.tolerance_s: "),
        (SIGNED % "scheme: hmac-sha256, secrets: [{env: NEW_SECRET}]", "sources.0.signature.header: "),
        (
            SIGNED % 'scheme: hmac-sha256, header: x, signed: "v0:{body}", secrets: [{env: NEW_SECRET}]',
            "timestamp_header must be set",
        ),
        (
            SIGNED
            % 'scheme: hmac-sha256, header: x, timestamp_header: t, signed: "{body}", secrets: [{env: NEW_SECRET}]',
            "must have {timestamp} once",
        ),
    ],
)
def test_what_is_wrong_is_named_by_file_and_key(file: Path, text: str, problem: str) -> None:
    from ingest_service.settings_webhook import WebhookSettings

    settings = WebhookSettings.load(bus="journal:/data", webhook_sources_file=write(file, text))
    with pytest.raises(SettingsError) as refused:
        settings.guards()
    assert str(file) in str(refused.value)
    assert problem in str(refused.value)
    assert NEW not in str(refused.value)
    assert "hunter2" not in str(refused.value)


def test_all_that_is_wrong_is_named_at_once(file: Path) -> None:
    write(file, GITHUB.replace("NEW_SECRET", "A_SECRET") + "      more: 1\n  - {name: github, path: x}\n")
    with pytest.raises(SettingsError) as refused:
        load_guards(file)
    assert "sources.0.signature.more" in str(refused.value)
    assert "sources.1.path" in str(refused.value)


def test_slack_can_be_said(file: Path) -> None:
    write(
        file,
        SIGNED
        % 'scheme: hmac-sha256, header: X-Slack-Signature, prefix: "v0=", signed: "v0:{timestamp}:{body}", '
        "timestamp_header: X-Slack-Request-Timestamp, secrets: [{env: NEW_SECRET}]",
    )
    guard = load_guards(file, os.environ)["/a"]
    assert guard is not None
    assert guard.headers == {"x-slack-signature", "x-slack-request-timestamp"}
    assert NEW not in repr(guard._scheme)
