"""Signature schemes: the examples that their authors publish, and everything that is not quite one."""

import base64
import hashlib
import hmac
from collections.abc import Callable
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest_service.accept.guard import Replays
from ingest_service.accept.signature import (
    GitHub,
    HmacSha256,
    NotSigned,
    Scheme,
    Signed,
    StandardWebhooks,
    Stripe,
    standard_webhooks_secret,
)

Headers = dict[str, str]


def header(headers: Headers) -> Callable[[str], str | None]:
    return headers.get


# Published: docs.github.com, "Testing the webhook payload validation".
GITHUB_SECRET: Final = b"It's a Secret to Everybody"
GITHUB_BODY: Final = b"Hello, World!"
GITHUB_HEADERS: Final = {
    "x-hub-signature-256": "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
}
# Published: the reference libraries of standard-webhooks, and its specification for the list of signatures.
STANDARD_SECRET: Final = standard_webhooks_secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
STANDARD_BODY: Final = b'{"test": 2432232314}'
STANDARD_AT: Final = 1_614_265_330
STANDARD_V1: Final = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
STANDARD_HEADERS: Final = {
    "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
    "webhook-timestamp": str(STANDARD_AT),
    "webhook-signature": STANDARD_V1,
}
# Published: api.slack.com, "Verifying requests from Slack"; a scheme of the generic kind.
SLACK_SECRET: Final = b"8f742231b10e8888abcd99yyyzzz85a5"
SLACK_AT: Final = 1_531_420_618
SLACK_BODY: Final = (
    b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V"
    b"&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text="
    b"&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554"
    b"%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
)
SLACK_HEADERS: Final = {
    "x-slack-request-timestamp": str(SLACK_AT),
    "x-slack-signature": "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
}
# Stripe publishes the form of the header and how it is made, not a secret; the digests are made as it says.
STRIPE_SECRET: Final = b"whsec_test_secret"
STRIPE_AT: Final = 1_492_774_577
STRIPE_BODY: Final = b'{\n  "id": "evt_test_webhook",\n  "object": "event"\n}'


def stripe_headers(
    secret: bytes = STRIPE_SECRET, at: object = STRIPE_AT, body: bytes = STRIPE_BODY
) -> Headers:
    digest = hmac.new(secret, f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return {
        "stripe-signature": f"t={at},v1={digest},v0=6ffbb59b2300aae63f272406069a9788598b792a944a07aba816edb039989a39"
    }


def slack(*secrets: bytes) -> HmacSha256:
    return HmacSha256(
        secrets, "x-slack-signature", "v0=", "hex", "x-slack-request-timestamp", "v0:", ":", tolerance_s=300
    )


EXAMPLES: Final = {
    "github": (GitHub, GITHUB_SECRET, GITHUB_HEADERS, GITHUB_BODY, 0),
    "standard-webhooks": (StandardWebhooks, STANDARD_SECRET, STANDARD_HEADERS, STANDARD_BODY, STANDARD_AT),
    "stripe": (Stripe, STRIPE_SECRET, stripe_headers(), STRIPE_BODY, STRIPE_AT),
    "slack": (lambda secrets: slack(*secrets), SLACK_SECRET, SLACK_HEADERS, SLACK_BODY, SLACK_AT),
}
example = pytest.mark.parametrize(
    ("make", "secret", "headers", "body", "at"), list(EXAMPLES.values()), ids=list(EXAMPLES)
)
Make = Callable[[tuple[bytes, ...]], Scheme]


@example
def test_the_published_example_holds(
    make: Make, secret: bytes, headers: Headers, body: bytes, at: int
) -> None:
    signed = make((secret,)).check(header(headers), body, at)
    assert (signed.replay is None) == (make is GitHub)


@example
def test_any_of_several_secrets_will_do(
    make: Make, secret: bytes, headers: Headers, body: bytes, at: int
) -> None:
    """Rotation: the new one, the old one, in any order."""
    make((b"other", secret)).check(header(headers), body, at)
    make((secret, b"other")).check(header(headers), body, at)
    with pytest.raises(NotSigned, match="no signature matches"):
        make((b"other", b"another")).check(header(headers), body, at)


@example
def test_another_body_and_a_missing_header_are_refused(
    make: Make, secret: bytes, headers: Headers, body: bytes, at: int
) -> None:
    scheme = make((secret,))
    with pytest.raises(NotSigned, match="no signature matches"):
        scheme.check(header(headers), body + b" ", at)
    for name in headers:
        assert name in scheme.headers
        without = {other: value for other, value in headers.items() if other != name}
        for lacking in (without, without | {name: "  "}):
            with pytest.raises(NotSigned, match=f"the header {name} is missing"):
                scheme.check(header(lacking), body, at)


@example
def test_the_signature_is_bound_to_its_time(
    make: Make, secret: bytes, headers: Headers, body: bytes, at: int
) -> None:
    if make is GitHub:
        make((secret,)).check(header(headers), body, at + 10**9)  # has no time
        return
    scheme = make((secret,))
    for late in (at - 300, at + 300):
        assert scheme.check(header(headers), body, late).expires_at_s == at + 300
    with pytest.raises(NotSigned, match="more than 300 s old"):
        scheme.check(header(headers), body, at + 301)
    with pytest.raises(NotSigned, match="more than 300 s ahead"):
        scheme.check(header(headers), body, at - 301)
    moved = {name: value.replace(str(at), str(at + 1)) for name, value in headers.items()}
    with pytest.raises(NotSigned, match="no signature matches"):
        scheme.check(header(moved), body, at)
    for wrong in ("", "soon", "-1", "1e9", "１６", "9" * 40):
        with pytest.raises(NotSigned):
            scheme.check(
                header({name: value.replace(str(at), wrong) for name, value in headers.items()}), body, at
            )


@pytest.mark.parametrize(
    ("given", "holds"),
    [
        (f"{STANDARD_V1} v1,bm9ldHUjKzFob2VudXRob2VodWUzMjRvdWVvdW9ldQo= v2,MzJsNDk4MzI0K2VvdSMjMTEj", True),
        (f"v1a,xxx {STANDARD_V1}", True),
        (STANDARD_V1.replace("v1,", "v2,"), False),
        (STANDARD_V1.removeprefix("v1,"), False),
        (STANDARD_V1.replace("=", ""), False),
        (STANDARD_V1.lower(), False),
        (
            " ".join(["v1,xx"] * 16 + [STANDARD_V1]),
            False,
        ),  # nobody has 16 secrets: a hundred would cost us time
    ],
)
def test_lists_of_standard_webhooks(given: str, holds: bool) -> None:
    headers = STANDARD_HEADERS | {"webhook-signature": given}
    scheme = StandardWebhooks((STANDARD_SECRET,))
    if holds:
        scheme.check(header(headers), STANDARD_BODY, STANDARD_AT)
    else:
        with pytest.raises(NotSigned):
            scheme.check(header(headers), STANDARD_BODY, STANDARD_AT)


def test_lists_of_stripe() -> None:
    """During a rotation Stripe signs with both secrets."""
    mine = stripe_headers()["stripe-signature"]
    digest = mine.partition("v1=")[2].partition(",")[0]
    scheme = Stripe((STRIPE_SECRET,))

    def check(value: str) -> Signed:
        return scheme.check(header({"stripe-signature": value}), STRIPE_BODY, STRIPE_AT)

    check(f"t={STRIPE_AT}, v1={'0' * 64}, v1={digest.upper()}")
    for wrong in (
        f"v1={digest}",
        f"t={STRIPE_AT}",
        f"t={STRIPE_AT},v0={digest}",
        f"t={STRIPE_AT},t={STRIPE_AT},v1={digest}",
        "t",
        ",,,",
    ):
        with pytest.raises(NotSigned):
            check(wrong)


def test_github_takes_no_older_scheme() -> None:
    digest = hmac.new(GITHUB_SECRET, GITHUB_BODY, hashlib.sha1).hexdigest()
    for value in (f"sha1={digest}", GITHUB_HEADERS["x-hub-signature-256"].removeprefix("sha256="), "sha256="):
        with pytest.raises(NotSigned):
            GitHub((GITHUB_SECRET,)).check(header({"x-hub-signature-256": value}), GITHUB_BODY, 0)


def test_the_generic_scheme_in_base64_without_a_time() -> None:
    """As Shopify signs."""
    given = base64.b64encode(hmac.digest(b"secret", b"{}", "sha256")).decode()
    scheme = HmacSha256((b"secret",), "x-shopify-hmac-sha256", encoding="base64")
    assert scheme.check(header({"x-shopify-hmac-sha256": given}), b"{}", 0) == Signed()
    with pytest.raises(NotSigned):
        scheme.check(header({"x-shopify-hmac-sha256": given.lower()}), b"{}", 0)


def test_the_same_request_has_the_same_mark_and_no_other_has_it() -> None:
    scheme = Stripe((STRIPE_SECRET, b"second"))
    marks = [
        scheme.check(header(stripe_headers(secret, at, body)), body, STRIPE_AT).replay
        for secret, at, body in [
            (STRIPE_SECRET, STRIPE_AT, STRIPE_BODY),
            (b"second", STRIPE_AT, STRIPE_BODY),  # signed by the other secret it is the same request
            (STRIPE_SECRET, STRIPE_AT + 1, STRIPE_BODY),
            (STRIPE_SECRET, STRIPE_AT, b"{}"),
        ]
    ]
    assert marks[0] == marks[1]
    assert len(set(marks)) == 3


def test_replays_are_forgotten_when_they_are_too_old_to_be_taken_or_too_many() -> None:
    replays = Replays(most=3)
    requests = [Signed(bytes([n]), 100 + n) for n in range(6)]
    for request in requests[:3]:
        replays.add(request, 50)
    assert [request in replays for request in requests] == [True] * 3 + [False] * 3
    replays.add(requests[3], 50)
    assert requests[0] not in replays
    replays.add(requests[4], 104)
    assert [request in replays for request in requests] == [False] * 4 + [True, False]
    replays.add(Signed(), 104)
    assert Signed() not in replays


@pytest.mark.parametrize("text", ["whsec_", "", "whsec_!!!", "whsec_abc"])
def test_a_secret_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"base64|empty"):
        standard_webhooks_secret(text)


@given(
    st.sampled_from(sorted(EXAMPLES)),
    st.lists(
        st.text(max_size=30) | st.sampled_from([STANDARD_V1, "t=1492774577,v1=", "v0=", "sha256="]),
        min_size=3,
    ),
    st.binary(max_size=20),
)
def test_nothing_that_comes_is_more_than_refused(kind: str, values: list[str], body: bytes) -> None:
    make, secret, headers, _, at = EXAMPLES[kind]
    given = dict(zip(headers, values, strict=False))
    with pytest.raises(NotSigned):
        make((secret,)).check(header(headers | given), body + b"!", at)
