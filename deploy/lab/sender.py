"""Posts webhooks to a door at a steady rate and notes every answer; runs in a pod, with the standard library alone.

    sender.py --door HOST:PORT --rate 200 --name NAME --directory DIR (--seconds 60 | --bodies FILE)

For some seconds every body is a message of its own, and DIR/NAME.accepted gets the msg_id of each that was answered
with 200; or each line of the gzipped FILE is sent once. The last line of the output is the summary, as JSON. A
connection that ended without an answer counts as refused, like any other status. With --new-connections each request
makes its own, as most gateways do; otherwise each thread keeps one open.
"""

import argparse
import gzip
import http.client
import json
import pathlib
import sys
import threading
import time
from collections import Counter


class Sender:
    """What the threads share."""

    def __init__(self, options: argparse.Namespace, accepted) -> None:
        self.options = options
        self.accepted = accepted
        self.lock = threading.Lock()
        self.next = 0
        self.bodies = gzip.decompress(options.bodies.read_bytes()).splitlines() if options.bodies else None
        self.began = time.monotonic()
        self.latencies_ms: list[float] = []
        self.refused: Counter[str] = Counter()

    def turn(self) -> int | None:
        """The number of the next request, when its time has come; None at the end."""
        with self.lock:
            number = self.next
            due = self.began + number / self.options.rate
            if number == len(self.bodies) if self.bodies else due - self.began > self.options.seconds:
                return None
            self.next += 1
        time.sleep(max(0.0, due - time.monotonic()))
        return number

    def note(self, msg_id: str, outcome: str, took_s: float) -> None:
        """An answer, or why there was none."""
        with self.lock:
            if outcome == "200":
                self.latencies_ms.append(took_s * 1000)
                self.accepted.write(msg_id + "\n")
            else:
                self.refused[outcome] += 1
                sys.stderr.write(f"{time.strftime('%H:%M:%S')} {msg_id} {outcome}\n")

    def run(self) -> None:
        """One thread."""
        connection = None
        while (number := self.turn()) is not None:
            msg_id = f"{self.options.name}-{number}"
            if connection is None or self.options.new_connections:
                connection = http.client.HTTPConnection(self.options.door, timeout=30)
            began = time.monotonic()
            try:
                connection.request(
                    "POST", "/webhook/wechat", self.body(number, msg_id), {"content-type": "application/json"}
                )
                answer = connection.getresponse()
                answer.read()
                outcome = str(answer.status)
            except (OSError, http.client.HTTPException) as error:
                outcome = type(error).__name__
            self.note(msg_id, outcome, time.monotonic() - began)
            if outcome != "200" or self.options.new_connections:
                connection.close()
                connection = None

    def body(self, number: int, msg_id: str) -> bytes:
        """What is posted."""
        return self.bodies[number] if self.bodies else message(msg_id)

    def summary(self) -> dict:
        """Figures of the whole run."""
        ordered = sorted(self.latencies_ms) or [0.0]
        return {
            "sent": self.next,
            "accepted": len(self.latencies_ms),
            "refused": dict(self.refused),
            "p50_ms": round(ordered[len(ordered) // 2], 1),
            "p99_ms": round(ordered[len(ordered) * 99 // 100], 1),
            "longest_ms": round(ordered[-1], 1),
        }


def message(msg_id: str) -> bytes:
    """An ordinary message of today."""
    data = {
        "from_username": "82213038734@chatroom",
        "to_username": "wxid_rxtxwzysho",
        "chatroom_sender": "wxid_8tj1yofvup",
        "create_time": int(time.time()),
        "desc": "",
        "msg_id": msg_id,
        "msg_type": 1,
        "is_chatroom_msg": 1,
        "chatroom": "82213038734@chatroom",
        "source": "<msgsource/>",
        "content": f"from the lab {msg_id}",
    }
    return json.dumps(
        {"guid": "3f1c9a52-6d0e-4b7a-9c11-0a5be27d4410", "notify_type": 1010, "data": data}
    ).encode()


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--door", required=True)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--directory", type=pathlib.Path, required=True)
    parser.add_argument("--bodies", type=pathlib.Path)
    parser.add_argument("--threads", type=int, default=16)
    parser.add_argument("--new-connections", action="store_true")
    options = parser.parse_args()
    with (options.directory / f"{options.name}.accepted").open("w") as accepted:
        sender = Sender(options, accepted)
        threads = [threading.Thread(target=sender.run) for _ in range(options.threads)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    print(json.dumps(sender.summary()))


if __name__ == "__main__":
    main()
