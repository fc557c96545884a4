"""What may be asked for, and how a refusal names the field."""

from functools import partial

import pytest

from auth_service.keys.model import DAY_MS, Role, Workspace
from auth_service.keys.requests import KeyRequest, WorkspaceRequest
from auth_service.keys.scopes import ADMIN_DEFAULT, ALL, USER_DEFAULT
from millrace_runtime.errors import ErrorCode, ServiceError

NOW = 1_772_668_800_000
SHOP = Workspace("5b1", "shop", None, 100, 1000, NOW, NOW)


@pytest.mark.parametrize("name", ["a", "Z9", "a.b_c-d", "0", "n" * 64, "Global"])
def test_names_a_workspace_may_have(name: str) -> None:
    assert WorkspaceRequest(name).checked().name == name


@pytest.mark.parametrize("name", ["", "-a", ".a", "_a", "a b", "a/b", "ä", "a\n", "n" * 65, "global"])
def test_names_a_workspace_may_not_have(name: str) -> None:
    assert _refused_field(WorkspaceRequest(name)) == "name"


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (WorkspaceRequest("a", "d" * 513), "description"),
        (WorkspaceRequest("a", "d\x00"), "description"),
        (WorkspaceRequest("a", "\ud800"), "description"),
        (WorkspaceRequest("a", max_groups=0), "max_groups"),
        (WorkspaceRequest("a", max_groups=1001), "max_groups"),
        (WorkspaceRequest("a", max_biz_tags=10_001), "max_biz_tags"),
        (KeyRequest(""), "name"),
        (KeyRequest("  "), "name"),
        (KeyRequest("n" * 65), "name"),
        (KeyRequest("a\x00"), "name"),
        (KeyRequest("a", "d" * 513), "description"),
        (KeyRequest("a", scopes=("lake:read", "lake:drop")), "scopes"),
        (KeyRequest("a", rate_limit=99), "rate_limit"),
        (KeyRequest("a", rate_limit=1_000_001), "rate_limit"),
        (KeyRequest("a", expires_at_ms=NOW), "expires_at"),
        (KeyRequest("a", expires_at_ms=-1), "expires_at"),
        (KeyRequest("a", expires_at_ms=NOW + 365 * DAY_MS + 1), "expires_at"),
    ],
)
def test_a_refusal_names_the_field(request_: WorkspaceRequest | KeyRequest, field: str) -> None:
    assert _refused_field(request_) == field


def test_a_new_user_key_gets_30_days_and_the_default_scopes() -> None:
    key = KeyRequest("app").checked(SHOP, now_ms=NOW)

    assert key.role is Role.USER
    assert key.scopes == USER_DEFAULT == ("id:generate", "id:parse", "config:read")
    assert key.expires_at_ms == NOW + 30 * DAY_MS


def test_a_key_may_live_365_days() -> None:
    longest = NOW + 365 * DAY_MS

    assert KeyRequest("app", expires_at_ms=longest).checked(SHOP, now_ms=NOW).expires_at_ms == longest


def test_scopes_are_kept_once_and_in_one_order() -> None:
    key = KeyRequest("app", scopes=("lake:sql", "id:parse", "lake:sql")).checked(SHOP, now_ms=NOW)

    assert key.scopes == ("id:parse", "lake:sql")
    assert KeyRequest("app", scopes=ALL).checked(SHOP, now_ms=NOW).scopes == ALL


def test_an_unknown_scope_is_named_in_few_bytes() -> None:
    with pytest.raises(ServiceError, match="lake:drop"):
        KeyRequest("a", scopes=("lake:drop",)).checked(SHOP, now_ms=NOW)
    with pytest.raises(ServiceError) as refused:
        KeyRequest("a", scopes=("好" * 5000,)).checked(SHOP, now_ms=NOW)
    assert len(refused.value.message.encode()) <= 200


def test_an_admin_key_manages_but_may_not_generate() -> None:
    key = KeyRequest("root").checked(None, now_ms=NOW)

    assert key.role is Role.ADMIN
    assert key.scopes == ADMIN_DEFAULT
    with pytest.raises(ServiceError, match="id:generate"):
        KeyRequest("root", scopes=("id:generate",)).checked(None, now_ms=NOW)


def _refused_field(request: WorkspaceRequest | KeyRequest) -> object:
    check = (
        request.checked
        if isinstance(request, WorkspaceRequest)
        else partial(request.checked, SHOP, now_ms=NOW)
    )
    with pytest.raises(ServiceError) as refused:
        check()
    assert refused.value.code is ErrorCode.INVALID_REQUEST
    assert refused.value.message.startswith(str(refused.value.details["field"]))
    return refused.value.details["field"]
