"""The text of a key and what is kept of it (ID-57)."""

import hashlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auth_service.keys.names import NAME_PATTERN
from auth_service.keys.text import key_prefix, new_key_text, owner_in
from millrace_runtime.auth import key_hash

NAMES = st.from_regex(re.compile(NAME_PATTERN), fullmatch=True).filter(lambda name: name != "global")


@given(NAMES)
def test_a_key_names_its_workspace_and_ends_in_32_random_characters(name: str) -> None:
    text = new_key_text(name)

    assert re.fullmatch(rf"idgen_{re.escape(name)}_[A-Za-z0-9]{{32}}", text)
    assert owner_in(text) == name
    assert key_prefix(text) == text[:16]


@given(NAMES)
def test_the_hash_is_the_sha_256_in_lower_case_hex(name: str) -> None:
    text = new_key_text(name)

    assert key_hash(text) == hashlib.sha256(text.encode()).hexdigest()
    assert key_hash(text) != key_hash(text + " ")


def test_an_admin_key_says_global() -> None:
    assert owner_in(new_key_text(None)) == "global"


def test_keys_do_not_repeat() -> None:
    assert len({new_key_text("demo") for _ in range(1000)}) == 1000


def test_randomness_can_be_handed_in() -> None:
    assert new_key_text("demo", random=lambda: "x" * 32) == "idgen_demo_" + "x" * 32


@given(st.text())
def test_anything_may_be_hashed_and_looked_at(text: str) -> None:
    assert len(key_hash(text)) == 64
    assert (owner_in(text) or "") in text


@pytest.mark.parametrize(
    "text",
    ["", "idgen_", "idgen__" + "a" * 32, "idgen_demo_" + "a" * 31, "idgen_demo_" + "a" * 33 + "-",
     "IDGEN_demo_" + "a" * 32, "idgen_demo_" + "a" * 32 + "\n", "idgen_-x_" + "a" * 32,
     "idgen_" + "n" * 65 + "_" + "a" * 32],
)  # fmt: skip
def test_what_is_no_key(text: str) -> None:
    assert owner_in(text) is None
