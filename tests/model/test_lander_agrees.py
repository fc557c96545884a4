"""Two readings of the sheet: what the lander lands is what the model says, also for odd payloads."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from millrace_testkit.model import compare, sums

LINES = [
    b"",
    b"  ",
    b'{"guid":',
    b"[1]",
    b'{"a":"\xff"}',
    b'{"guid":"g","notify_type":1010,"data":{"msg_id":"s","from_username":"a","to_username":"b",'
    b'"create_time":1,"is_chatroom_msg":0,"content":"x\\ud83d","k\\udc00":1.50}}',
    b'{"guid":"g","notify_type":1010,"notify_type":1006,"data":{"x":18446744073709551616}}',
    b'{"guid":"g\\ud800","notify_type":1006,"data":"\\ud800"}',
    b'{"guid":"g","notify_type":1010,"data":{"msg_id":{"k":["\\ud800"]},"from_username":["\\udc00"],"to_username":"b",'
    b'"create_time":1,"is_chatroom_msg":0,"content":{"\\ud83d":1},"source":["\\udfff"]}}',
    b'{"guid":"g","notify_type":1200,"data":{"userName":{"string":"u\\ud800"},"nickName":{"string":"\\ud800"},'
    b'"remark":"{\\ud800","customInfo":{"\\udc00":["\\ud800"]},"alias":["\\ud800"],"zz":"\\ud800"}}',
]  # fmt: skip

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 3),
    st.sampled_from([2**31 - 1, 2**31, 2**63, 2**64, 1773450729, 1773450729000, -1]),
    st.sampled_from([0.0, 1.0, 1.5, 49.0, 1e20, 1e-7, 0.1, 1e300]),
    st.sampled_from(
        [
            "",
            "0",
            "1",
            "49",
            "-1",
            "x",
            "007",
            "1.0",
            "{",
            "[1]",
            "{}",
            '{"a": 1}',
            " {}",
            "[x",
            "群 📎",
            "\n",
        ]
    ),
    st.text(max_size=3),
)
values = st.one_of(
    scalars,
    st.lists(scalars, max_size=2),
    st.dictionaries(st.sampled_from(["a", "string"]), scalars, max_size=2),
)


def often(value: Any) -> st.SearchStrategy[Any]:
    """Mostly this value, so that payloads get far enough to be rows."""
    return st.integers(0, 9).flatmap(lambda roll: values if roll == 0 else st.just(value))


def optional(fields: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=fields)


def mostly(
    fields: dict[str, st.SearchStrategy[Any]], **more: st.SearchStrategy[Any]
) -> st.SearchStrategy[Any]:
    """An object with these fields, of which one may be missing, and perhaps more."""
    whole = st.fixed_dictionaries(fields, optional=more)
    gap = st.one_of(st.none(), st.none(), st.none(), st.sampled_from(sorted(fields)))
    return st.tuples(whole, gap).map(lambda pair: {k: v for k, v in pair[0].items() if k != pair[1]})


messages = mostly(
    {
        "msg_id": st.one_of(st.sampled_from(["1", "2", "3", 1, "x"]), values),
        "from_username": often("a"),
        "to_username": often("b"),
        "create_time": often(1773450729),
        "is_chatroom_msg": often(1),
    },
    msg_type=values, content=values, desc=values, source=values, chatroom=values, reaction=values, guid=values,
)  # fmt: skip
contacts = mostly(
    {"userName": st.one_of(st.sampled_from([{"string": "u"}, {"string": "v"}, "u", {}]), values)},
    username=values, tpUsername=values, alias=values, sex=often(1), deleteFlag=often(0), contactType=often(2),
    nickName=values, nickname=values, remark=values, customInfo=values, deleteContactScene=values, flag=values,
    mobile=values,
)  # fmt: skip
wide = contacts.map(lambda data: data | {f"k{number}": number for number in range(40)})
payloads = st.one_of(
    mostly({"guid": often("g"), "notify_type": often(1010), "data": messages}, trace=values),
    mostly(
        {
            "guid": often("g"),
            "notify_type": often(1011),
            "data": st.lists(st.one_of(messages, values), max_size=3),
        }
    ),
    mostly(
        {
            "guid": often("g"),
            "notify_type": st.sampled_from([1200, 1201, 1201, 1202, "1200"]),
            "data": contacts,
        },
        trace=values,
    ),
    mostly({"guid": often("g"), "notify_type": values, "data": st.one_of(messages, wide, values)}),
    st.builds(
        lambda data, more: data | more, messages, optional({"guid": often("g"), "notify_type": often(1010)})
    ),
)


@pytest.mark.slow
@settings(max_examples=25, phases=[Phase.generate], deadline=None, suppress_health_check=list(HealthCheck))
@given(drawn=st.lists(payloads, min_size=20, max_size=60), cut=st.integers(0, 20))
def test_lander_and_model_agree(
    tmp_path_factory: pytest.TempPathFactory, landed: Any, drawn: list[Any], cut: int
) -> None:
    lines = LINES + [json.dumps(payload, ensure_ascii=False).encode("utf-8", "replace") for payload in drawn]
    data = tmp_path_factory.mktemp("lake")
    landed(data, lines, cut)
    assert compare(data, today="2026-03-20") == []
    totals = sums(data, today="2026-03-20")
    assert totals.lines == totals.accounted
