"""Load generator: posts the lines of a file to the door, from a process of its own.

Blocking sockets behind one epoll, requests built beforehand: a request costs little more than the kernel's
share of it. Prints one JSON object; all times are CLOCK_MONOTONIC, which every process here shares.
"""

import argparse
import json
import os
import select
import socket
import time
from array import array
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path

_BUFFER = 1 << 16


@dataclass(slots=True)
class Connection:
    """One keep-alive connection with at most one request on its way."""

    socket: socket.socket
    sent_ns: int = 0
    number: int = 0
    received: bytes = b""

    def send(self, number: int, request: bytes) -> None:
        """Posts request `number`."""
        self.number = number
        self.sent_ns = time.monotonic_ns()
        self.socket.sendall(request)

    def answer(self) -> int | None:
        """The status of the answer that has arrived; None while there is more to come."""
        data = self.socket.recv(_BUFFER)
        if not data:
            raise ConnectionError("the server closed the connection")
        self.received += data
        head = self.received.find(b"\r\n\r\n")
        if head < 0:
            return None
        lowered = self.received[:head].lower()
        at = lowered.find(b"content-length:")
        length = int(lowered[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        if len(self.received) < head + 4 + length:
            return None
        status = int(self.received[9:12])
        self.received = b""
        return status


@dataclass(slots=True)
class Sent:
    """One entry a request, in the order of the answers: its number, when it was sent and answered."""

    numbers: "array[int]" = field(default_factory=lambda: array("q"))
    sent_ns: "array[int]" = field(default_factory=lambda: array("q"))
    answered_ns: "array[int]" = field(default_factory=lambda: array("q"))
    refused: int = 0


class Driver:
    """Posts until the requests or the seconds run out (0: no limit), then waits for the last answers.

    `rate` requests a second, each due at its own moment; 0 means the next as soon as a connection is free.
    """

    def __init__(
        self,
        address: tuple[str, int],
        requests: Iterator[bytes],
        *,
        connections: int,
        seconds: float,
        rate: float,
    ) -> None:
        # In turn, so that none is idle for so long that the server closes it.
        self._free = deque(Connection(_connected(address)) for _ in range(connections))
        self._busy: dict[int, Connection] = {}
        self._requests = requests
        self._seconds = seconds
        self._rate = rate
        self._posted = 0
        self._more = True
        self._started = 0.0
        self._sent = Sent()

    def run(self) -> Sent:
        """All that was posted, when its last answer is there."""
        epoll = select.epoll()
        for connection in self._free:
            epoll.register(connection.socket.fileno(), select.EPOLLIN)
        self._started = time.monotonic()
        self._post()
        while self._more or self._busy:
            for descriptor, _ in epoll.poll(self._wait_s()):
                self._take(self._busy[descriptor])
                self._post()
            self._post()
        return self._sent

    def _post(self) -> None:
        """Posts what is due, as far as connections are free."""
        if not self._more:
            return
        now = time.monotonic() - self._started
        if self._seconds and now >= self._seconds:
            self._more = False
            return
        due = int(now * self._rate) + 1 if self._rate else self._posted + len(self._free)
        while self._free and self._posted < due:
            request = next(self._requests, None)
            if request is None:
                self._more = False
                return
            connection = self._free.popleft()
            connection.send(self._posted, request)
            self._busy[connection.socket.fileno()] = connection
            self._posted += 1

    def _take(self, connection: Connection) -> None:
        """Notes an answer that is complete."""
        status = connection.answer()
        if status is None:
            return
        self._sent.numbers.append(connection.number)
        self._sent.sent_ns.append(connection.sent_ns)
        self._sent.answered_ns.append(time.monotonic_ns())
        self._sent.refused += status != 200
        self._free.append(self._busy.pop(connection.socket.fileno()))

    def _wait_s(self) -> float:
        """Until the next request is due; -1 (for ever) when only an answer can go on."""
        if not self._rate or not self._more or not self._free:
            return -1
        return max(0.0, self._posted / self._rate - (time.monotonic() - self._started))


def _connected(address: tuple[str, int]) -> socket.socket:
    connection = socket.create_connection(address, timeout=60)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def _request(address: tuple[str, int], path: str, body: bytes) -> bytes:
    return (
        b"POST %b HTTP/1.1\r\nHost: %b:%d\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
        % (path.encode(), address[0].encode(), address[1], len(body), body)
    )


def _summary(sent: Sent, warm_up_s: float, cpu_s: float, wall_s: float) -> dict[str, float]:
    """Figures of what was answered after the warm-up."""
    begin = sent.sent_ns[0] + int(warm_up_s * 1e9)
    end = max(sent.answered_ns)
    pairs = zip(sent.sent_ns, sent.answered_ns, strict=True)
    latencies = sorted(answered - asked for asked, answered in pairs if answered >= begin)
    if not latencies:
        raise SystemExit("nothing was answered after the warm-up")
    return {
        "answered": len(sent.numbers),
        "refused": sent.refused,
        "per_s": len(latencies) / ((end - begin) / 1e9),
        "p50_ms": latencies[len(latencies) // 2] / 1e6,
        "p99_ms": latencies[len(latencies) * 99 // 100] / 1e6,
        "cpu_percent": 100 * cpu_s / wall_s,
    }


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--path", default="/webhook/wechat")
    parser.add_argument("--bodies", type=Path, required=True, help="one body a line")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=0, help="bodies are repeated; 0: each body once")
    parser.add_argument("--warm-up", type=float, default=0, help="seconds that the figures leave out")
    parser.add_argument("--rate", type=float, default=0, help="requests a second; 0: as fast as answered")
    parser.add_argument("--answers", type=Path, help="file for each request's number and answer time, int64")
    options = parser.parse_args()
    address = ("127.0.0.1", options.port)
    built = [_request(address, options.path, body) for body in options.bodies.read_bytes().splitlines()]
    requests = cycle(built) if options.seconds else iter(built)
    began, used = time.monotonic(), os.times()
    driver = Driver(
        address,
        requests,
        connections=options.connections,
        seconds=options.seconds,
        rate=options.rate,
    )
    sent = driver.run()
    wall_s, now = time.monotonic() - began, os.times()
    cpu_s = now.user + now.system - used.user - used.system
    if options.answers:
        options.answers.write_bytes(sent.numbers.tobytes() + sent.answered_ns.tobytes())
    print(json.dumps(_summary(sent, options.warm_up, cpu_s, wall_s)))


if __name__ == "__main__":
    main()
