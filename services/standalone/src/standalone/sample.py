"""The sample: real traffic to look at, sent through the door on the first start."""

import asyncio
import gzip
import itertools
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args
from urllib.parse import urlsplit

import msgspec

from standalone.data_directory import DataDirectory, write_durably

if TYPE_CHECKING:
    from millrace import AsyncClient

# "replaying": a start was cut off in the middle; repeats are harmless, so all is sent again.
State = Literal["replaying", "replayed", "declined"]

VISIBLE_WITHIN_S = 15.0
_POLL_S = 0.05
_SENDERS = 8
_ANSWER_WITHIN_S = 30.0


class SampleError(Exception):
    """The sample could not be replayed. The next start tries again."""


class Truth(msgspec.Struct, frozen=True):
    """What a lake must hold of the sample; `scripts/draw_sample.py` counts it."""

    lines: int
    distinct_messages: int
    distinct_contacts: int
    other_lines: int
    messages_per_day: dict[str, int]

    @property
    def first_day(self) -> str:
        """`YYYY-MM-DD`, as is `last_day`."""
        return min(self.messages_per_day)

    @property
    def last_day(self) -> str:
        return max(self.messages_per_day)


def truth() -> Truth:
    """What the shipped sample amounts to."""
    text = resources.files(__package__).joinpath("sample/wechat_webhooks.truth.json").read_bytes()
    return msgspec.json.decode(text, type=Truth)


def payloads() -> list[bytes]:
    """The bodies of the shipped sample, in order."""
    packed = resources.files(__package__).joinpath("sample/wechat_webhooks.jsonl.gz").read_bytes()
    return gzip.decompress(packed).splitlines()


def state(directory: DataDirectory) -> State | None:
    """What earlier starts did about the sample; None before the first."""
    try:
        text = _marker(directory).read_text(errors="replace").strip()
    except FileNotFoundError:
        return None
    return next((known for known in get_args(State) if known == text), "replayed")


def wanted(directory: DataDirectory, asked: bool) -> bool:
    """Whether this start replays, decided and noted on the first start of a data directory.

    Data that is there already without a note (journals laid by single services) is not mixed with it.
    """
    match state(directory):
        case "replaying":
            return True
        case None:
            replay = asked and not any(
                journal
                for place in ("raw", "former/*")
                for journal in directory.raw.parent.glob(f"{place}/*.jsonl")
            )
            note(directory, "replaying" if replay else "declined")
            return replay
        case _:
            return False


async def replay(
    directory: DataDirectory, webhook_url: str, client: "AsyncClient", progress: Callable[[int], None]
) -> None:
    """Posts every payload to the door and waits until the lake shows them; `progress` gets the count sent.

    The note that it is done is written at the end, so a cut-off start replays again.
    Raises SampleError when the door refuses or the lake does not show them in time.
    """
    await _post_all(webhook_url, payloads(), progress)
    await _wait_until_visible(client, truth())
    note(directory, "replayed")


async def _post_all(url: str, bodies: list[bytes], progress: Callable[[int], None]) -> None:
    """Threads with the standard library's client: it costs a fraction of an asynchronous one per request,
    and the services that answer share this process's CPU."""
    sent = itertools.count(1)
    abandoned = threading.Event()

    def post(lane: list[bytes]) -> None:
        target = urlsplit(url)
        connection = HTTPConnection(target.netloc, timeout=_ANSWER_WITHIN_S)
        try:
            for body in lane:
                if abandoned.is_set():
                    return
                connection.request("POST", target.path, body, {"content-type": "application/json"})
                answer = connection.getresponse()
                text = answer.read(200)
                if answer.status != HTTPStatus.OK:
                    raise SampleError(f"{url} answered {answer.status}: {text.decode(errors='replace')}")
                progress(next(sent))
        except (OSError, HTTPException) as error:
            raise SampleError(f"{url} does not answer: {error!r}") from error
        finally:
            connection.close()

    try:
        await asyncio.gather(*(asyncio.to_thread(post, lane) for lane in lanes(bodies, _SENDERS)))
    finally:
        abandoned.set()


def lanes(bodies: list[bytes], count: int) -> list[list[bytes]]:
    """The bodies dealt to `count` senders; all but messages stay on the first, in order, since the latest
    change of a contact wins (LAKE-65)."""
    ordered = [body for body in bodies if b'"msg_id"' not in body]
    messages = [body for body in bodies if b'"msg_id"' in body]
    return [ordered, *(messages[lane :: count - 1] for lane in range(count - 1))]


async def _wait_until_visible(client: "AsyncClient", expected: Truth) -> None:
    shown = 0
    try:
        async with asyncio.timeout(VISIBLE_WITHIN_S):
            while shown < expected.distinct_messages:
                await asyncio.sleep(_POLL_S)
                shown = await client.count(expected.first_day, expected.last_day)
    except TimeoutError:
        raise SampleError(
            f"the lake shows {shown} of {expected.distinct_messages} sample messages "
            f"after {VISIBLE_WITHIN_S:g} s; `millrace status` and the log say why"
        ) from None


def note(directory: DataDirectory, done: State) -> None:
    """Remember durably what was done about the sample."""
    write_durably(_marker(directory), f"{done}\n".encode())


def _marker(directory: DataDirectory) -> Path:
    return directory.metadata / "sample"
