"""Webhook bodies: one of each kind, and mixed traffic of all kinds with repeats."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

FIRST_SECOND = 1_772_668_800
"""2026-03-05T00:00:00Z, the earliest create_time that `traffic` uses."""

DAYS = 5
_DAY_S = 86_400
_GUID = "3f1c9a52-6d0e-4b7a-9c11-0a5be27d4410"
_CONTACTS = 12


def encoded(payload: object) -> bytes:
    """As a gateway sends it: UTF-8, one line."""
    return json.dumps(payload, ensure_ascii=False).encode()


def data_of(msg_id: str, create_time: int, **values: Any) -> dict[str, Any]:
    """The `data` of an ordinary message; `values` replaces, adds or, being None, nulls keys."""
    return {
        "from_username": "82213038734@chatroom",
        "to_username": "wxid_rxtxwzysho",
        "chatroom_sender": "wxid_8tj1yofvup",
        "create_time": create_time,
        "desc": "",
        "msg_id": msg_id,
        "msg_type": 1,
        "is_chatroom_msg": 1,
        "chatroom": "82213038734@chatroom",
        "source": "<msgsource/>",
        "content": f"你好 {msg_id} 🙏",
        **values,
    }


def message(msg_id: str, create_time: int = FIRST_SECOND, **values: Any) -> bytes:
    """A message, notify_type 1010."""
    return encoded({"guid": _GUID, "notify_type": 1010, "data": data_of(msg_id, create_time, **values)})


def batch(*elements: object) -> bytes:
    """A batch, notify_type 1011."""
    return encoded({"guid": _GUID, "notify_type": 1011, "data": elements})


def contact(username: str, nickname: str) -> bytes:
    """A contact that is new or changed, notify_type 1202."""
    data = {
        "userName": {"string": username},
        "nickName": {"string": nickname},
        "sex": 1,
        "contactType": 2,
        "bitMask2": "18446744073709551615",
    }
    return encoded({"guid": _GUID, "notify_type": 1202, "data": data})


def deletion(username: str, scene: int = 0) -> bytes:
    """A contact that is deleted, notify_type 1201."""
    data = {"userName": {"string": username}, "deleteContactScene": scene}
    return encoded({"guid": _GUID, "notify_type": 1201, "data": data})


def other(number: int) -> bytes:
    """A notification that is neither, notify_type 1006."""
    return encoded({"guid": _GUID, "notify_type": 1006, "data": {"number": number, "mask": 2**64 + number}})


def not_json(number: int) -> bytes:
    """A body that is no JSON object; each time another kind of it."""
    kinds = [b'{"cut": ', b"[1, 2]", b"\xff\xfe\x00", b'"text"', b'{"n": NaN}', b"", b"plain words", b"7"]
    return kinds[number % len(kinds)]


def traffic(seed: int, first: int = 0) -> Iterator[bytes]:
    """Endless mixed traffic, the same for the same arguments; `first` numbers the first body.

    Of every kind that the lake tells apart, with about 15 % repeats: the same body again, or the same
    msg_id with another content on another day.
    """
    chance = random.Random(seed)
    sent: list[str] = []
    number = first
    while True:
        number += 1
        moment = FIRST_SECOND + chance.randrange(DAYS * _DAY_S)
        msg_id = f"{7_304_418_832_500_000_000 + seed * 10_000_000 + number}"
        match chance.randrange(100):
            case roll if roll < 55:
                sent.append(msg_id)
                yield message(msg_id, moment)
            case roll if roll < 70 and sent:
                yield message(chance.choice(sent[-500:]), moment, content="again")
            case roll if roll < 74:  # keys that are no number below 2^64 go another way through the index
                yield message(f"m-{seed}-{number % 40}", moment)
            case roll if roll < 77:
                yield message(msg_id, moment, source=number, later_key={"kept": number})
            case roll if roll < 84:
                yield contact(f"wxid_{number % _CONTACTS}", f"name {number}")
            case roll if roll < 87:
                yield deletion(f"wxid_{number % _CONTACTS}", number)
            case roll if roll < 92:
                yield other(number)
            case roll if roll < 96:
                twice = data_of(f"b-{seed}-{number}", moment)
                yield batch(data_of(msg_id, moment), twice, {"no": "message"}, twice)
            case roll if roll < 98:
                yield message(msg_id, moment, from_username=None)
            case _:
                yield not_json(number)
