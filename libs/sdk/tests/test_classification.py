"""What a content is (LAKE-45, LAKE 4.4), whatever somebody has made of its XML."""

from typing import Final

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from millrace.classification import (
    APP_MESSAGE_TYPES,
    MESSAGE_TYPES,
    UNKNOWN,
    Category,
    Classification,
    Quoted,
    classify,
)

REFERMSG: Final = (
    "<refermsg><type>1</type><svrid>7304418825596013377</svrid><fromusr>47210093358@chatroom</fromusr>"
    "<displayname>王敏</displayname><content>第三版 &lt;b&gt; 📎</content><createtime>1773450729</createtime>"
    "</refermsg>"
)
QUOTED: Final = Quoted("7304418825596013377", 1, "王敏", "第三版 <b> 📎", 1773450729)


def app(number: object, more: str = "") -> str:
    return (
        f'<?xml version="1.0"?><msg><appmsg appid="" sdkver="0"><title>报告 &amp; 附表</title><des>三张图</des>'
        f"<type>{number}</type><url>https://n.example/s?id=1&amp;from=group</url>{more}</appmsg>"
        f"<fromusername>wxid_r</fromusername></msg>"
    )


def test_the_codes_are_those_of_the_sheet() -> None:
    assert set(MESSAGE_TYPES) == {0, 1, 3, 34, 37, 42, 43, 47, 48, 49, 50, 51, 10000, 10002}
    assert MESSAGE_TYPES[51] == "phone-side status"
    assert set(APP_MESSAGE_TYPES) == {1, 3, 4, 5, 6, 33, 47, 49, 51, 57, 124}


@pytest.mark.parametrize("number", [3, 47, 51, 124])
def test_app_messages_that_are_filtered(number: int) -> None:
    assert classify(app(number)) == Classification(Category.APPMSG, number, True, f"appmsg:type={number}")


def test_a_reaction_is_filtered_and_a_text_is_not() -> None:
    reaction = classify(app(1, REFERMSG))
    assert (reaction.should_filter, reaction.filter_reason) == (True, "appmsg:type=1+refermsg")
    assert reaction.refermsg == QUOTED
    assert classify(app(1)) == Classification(Category.APPMSG, 1, text="报告 & 附表")


@pytest.mark.parametrize("number", [4, 5])
def test_a_share_says_what_and_where(number: int) -> None:
    assert classify(app(number)) == Classification(
        Category.APPMSG,
        number,
        text="[share] 报告 & 附表",
        des="三张图",
        url="https://n.example/s?id=1&from=group",
    )


@pytest.mark.parametrize("number", [57, 49])
def test_a_quote_says_whom(number: int) -> None:
    found = classify(app(number, REFERMSG))
    assert found == Classification(
        Category.APPMSG, number, text="[quote @王敏: 第三版 <b> 📎] 报告 & 附表", refermsg=QUOTED
    )


@pytest.mark.parametrize("number", [6, 33, 2000, 57])
def test_other_app_messages_are_kept(number: int) -> None:
    assert classify(app(number)) == Classification(Category.APPMSG, number, text="报告 & 附表")


@pytest.mark.parametrize("number", ["", "five", "-5", "5.0", "٥", "9" * 30])
def test_a_type_that_is_no_number_is_none(number: str) -> None:
    assert classify(app(number)) == Classification(Category.APPMSG, None, text="报告 & 附表")


@pytest.mark.parametrize(
    ("content", "category", "reason"),
    [
        ('<msg><emoji fromusername="a" len="1"></emoji><gameext/></msg>', "emoji", "emoji"),
        ('<msg><voicemsg endflag="1" voicelength="2000"/></msg>', "voicemsg", "voicemsg"),
        ('<sysmsg type="revokemsg"><revokemsg><msgid>1</msgid></revokemsg></sysmsg>', "sysmsg", "sysmsg"),
        ("<op id='5'><name>lastMessage</name><arg>{}</arg></op>", "op", "op:lastMessage"),
        ("<msg><op><name> lastMessage </name></op></msg>", "op", "op:lastMessage"),
        ("<msg><op><name>moment</name></op></msg>", "op", ""),
        ("<msg><op/></msg>", "op", ""),
        ('\n<?xml version="1.0"?>\n<msg>\n\t<img aeskey="x"/></msg>\n', "img", ""),
        ('<?xml version="1.0" encoding="gbk"?><msg><img name="图"/></msg>', "img", ""),
        ("<msg><location x='1'/></msg>", "unknown", ""),
        ("<a><emoji/></a>", "unknown", ""),
        ("<msg><a><emoji/></a></msg>", "unknown", ""),
    ],
)
def test_kinds_and_reasons(content: str, category: str, reason: str) -> None:
    found = classify(content)
    assert (found.category, found.filter_reason) == (category, reason)
    assert found.should_filter == bool(reason)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "收到",
        "1 < 2 & 3",
        "<msg><emoji></msg>",
        "<msg><emoji/></msg>trailing",
        "<msg><emoji/></msg><msg/>",
        app(5)[:-7],
        "<msg><emoji/>\x00</msg>",
        "<msg><emoji/>\ud800</msg>",
        "<msg><emoji/>&nbsp;</msg>",
        "wxid_a:\n<msg><emoji/></msg>",
    ],
)
def test_what_is_no_xml_is_unknown_and_kept(content: str) -> None:
    assert classify(content) == UNKNOWN
    assert not UNKNOWN.should_filter


EXPANSION = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10 if n else "ha"}">' for n in range(12))


@pytest.mark.parametrize(
    "declared",
    [
        f"<!DOCTYPE msg [{EXPANSION}]>",
        '<!DOCTYPE msg [<!ENTITY a11 SYSTEM "file:///etc/passwd">]>',
        '<!DOCTYPE msg [<!ENTITY % e SYSTEM "http://127.0.0.1:1/x"> %e;]>',
        '<!DOCTYPE msg SYSTEM "http://127.0.0.1:1/x.dtd">',
        "<!DOCTYPE msg>",
    ],
)
def test_entities_and_document_types_are_refused(declared: str) -> None:
    """Expansion of 2 x 10^11 characters would not end, nor fit."""
    assert classify(f"{declared}<msg><appmsg><type>5</type><title>&a11;</title></appmsg></msg>") == UNKNOWN
    assert classify(f"{declared}<msg><emoji/></msg>") == UNKNOWN


def test_depth_and_width_are_no_trouble() -> None:
    deep = "<x>" * 200_000 + "</x>" * 200_000
    assert classify(app(5, deep)).text == "[share] 报告 & 附表"
    wide = classify(app(5, "<title>other</title>" * 50_000))
    assert wide.text == "[share] 报告 & 附表"


def test_a_repeated_part_counts_once_and_nested_text_is_not_the_parts() -> None:
    content = app(57, REFERMSG + REFERMSG.replace("王敏", "second").replace("<svrid>", "<x/><svrid>"))
    assert classify(content).refermsg == QUOTED
    nested = "<msg><appmsg><type>5</type><title>a<b>not mine<c>nor this</c></b>c</title></appmsg></msg>"
    assert classify(nested).text == "[share] ac"


words = st.sampled_from(
    ["msg", "appmsg", "type", "title", "refermsg", "content", "emoji", "op", "name", "sysmsg", "img", "x"]
)
texts = st.one_of(
    st.text(max_size=6),
    st.sampled_from(
        ["5", "57", "1", "lastMessage", "&amp;", "&#0;", "&lt;", "<![CDATA[", "]]>", "<!--", "<?"]
    ),
)
elements = st.recursive(
    texts,
    lambda inner: st.builds(
        lambda name, end, parts: f"<{name}>{''.join(parts)}</{end or name}>",
        words,
        st.sampled_from([""] * 19 + ["msg"]),
        st.lists(inner, max_size=4),
    ),
    max_leaves=12,
)


@given(st.one_of(st.text(), elements, elements.map(lambda part: f"<msg>{part}</msg>")))
@example("<msg><appmsg><type>5</type></appmsg></msg>")
def test_no_text_is_an_exception(content: str) -> None:
    found = classify(content)
    assert found.should_filter == bool(found.filter_reason)
    assert (found.appmsg_type is None) or found.category is Category.APPMSG
    assert found == classify(content)
