import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from millrace_runtime.logs import configure_logging, get_logger, logging_during, request_id


@pytest.fixture
def out() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield io.StringIO()
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def test_a_line_is_one_json_object_with_service_module_and_request(out: io.StringIO) -> None:
    log = get_logger("accept.routes")  # made before the configuration, as modules do at import
    configure_logging("ingest-service", stream=out)
    token = request_id.set("r-7")
    log.info("delivery_accepted", bytes=12)
    request_id.reset(token)
    line = json.loads(out.getvalue())
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "delivery_accepted",
        "level": "info",
        "service": "ingest-service",
        "module": "accept.routes",
        "request_id": "r-7",
        "bytes": 12,
    }


def test_outside_of_a_request_there_is_no_request_id(out: io.StringIO) -> None:
    configure_logging("ingest-service", stream=out)
    get_logger("x").info("started")
    assert "request_id" not in json.loads(out.getvalue())


def test_libraries_log_in_the_same_form_and_only_warnings(out: io.StringIO) -> None:
    configure_logging("ingest-service", stream=out)
    logging.getLogger("asyncio").info("chatter")
    logging.getLogger("somebody").warning("disk %s", "slow")
    line = json.loads(out.getvalue())
    assert (line["event"], line["module"], line["service"]) == ("disk slow", "somebody", "ingest-service")


def test_level_filters(out: io.StringIO) -> None:
    configure_logging("ingest-service", "WARNING", stream=out)
    get_logger("x").info("quiet")
    logging.getLogger("y").info("quiet")
    assert out.getvalue() == ""


@pytest.mark.parametrize("as_json", [True, False])
def test_a_traceback_has_no_local_variables(out: io.StringIO, as_json: bool) -> None:
    configure_logging("ingest-service", stream=out, json=as_json)

    def fails(content: str) -> None:
        raise ValueError("no")

    words = " ".join(["secret", "words"])  # the source line in the traceback must not hold them
    try:
        fails(words)
    except ValueError:
        get_logger("x").exception("failed")
    assert "ValueError" in out.getvalue()
    assert "secret words" not in out.getvalue()


def test_a_command_logs_to_stderr_for_its_time_only(
    out: io.StringIO, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging("ingest-service", stream=out)
    log = get_logger("m")
    with logging_during("storage", "WARNING"):
        log.info("unheard")
        log.warning("within")
    log.info("afterwards")
    assert json.loads(capsys.readouterr().err)["service"] == "storage"
    assert [json.loads(line)["event"] for line in out.getvalue().splitlines()] == ["afterwards"]
