"""Workspaces and API keys over HTTP (sheet section 12)."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query

from auth_service.keys.access import require_admin
from auth_service.keys.directory import KeyDirectory
from auth_service.keys.scopes import CONFIG_READ
from auth_service.keys.shapes import (
    KeyBody,
    KeyShape,
    NewKeyShape,
    NewWorkspaceShape,
    Page,
    RevokedShape,
    WorkspaceBody,
    WorkspaceShape,
)
from millrace_runtime.auth import Principal, Verifier, api_key_dependency
from millrace_runtime.errors import ErrorCode, ServiceError

PageNumber = Annotated[int, Query(ge=1, le=1_000_000_000)]
PageSize = Annotated[int, Query(ge=1, le=100)]


def key_routes(directory: KeyDirectory, verifier: Verifier) -> APIRouter:
    """The routes below `/api/v1`."""
    router = APIRouter(prefix="/api/v1")
    caller = api_key_dependency(verifier)

    async def admin(principal: Annotated[Principal, Depends(caller)]) -> Principal:
        return require_admin(principal)

    @router.post("/workspaces", status_code=201)
    async def create_workspace(
        body: WorkspaceBody, actor: Annotated[Principal, Depends(admin)]
    ) -> NewWorkspaceShape:
        """A workspace, and a user key of it that is shown this once."""
        made, issued = await directory.create_workspace_with_key(body.request(), actor=actor)
        return NewWorkspaceShape.made(made, issued)

    @router.get("/workspaces")
    async def list_workspaces(
        principal: Annotated[Principal, Depends(caller)], page: PageNumber = 1, page_size: PageSize = 20
    ) -> Page[WorkspaceShape]:
        """All workspaces for an admin; a user key with `config:read` sees its own."""
        if principal.workspace is not None:
            principal.require(CONFIG_READ)
        found, total = await directory.list_workspaces(
            only=principal.workspace, offset=(page - 1) * page_size, limit=page_size
        )
        shapes = [WorkspaceShape.of(workspace) for workspace in found]
        return Page(items=shapes, total=total, page=page, page_size=page_size)

    @router.post("/api-keys", status_code=201)
    async def create_key(body: KeyBody, actor: Annotated[Principal, Depends(admin)]) -> NewKeyShape:
        """A key, whose text is shown this once."""
        if body.role == "admin":
            _require_no_workspace(body)
            issued = await directory.create_admin_key(body.request(), actor=actor)
        else:
            issued = await directory.create_user_key(
                body.request(), workspace_id=_workspace_id(body), actor=actor
            )
        return NewKeyShape.made(issued)

    @router.get("/api-keys", dependencies=[Depends(admin)])
    async def list_keys(page: PageNumber = 1, page_size: PageSize = 20) -> Page[KeyShape]:
        """All keys, oldest first, revoked ones included."""
        found, total = await directory.list_keys(offset=(page - 1) * page_size, limit=page_size)
        return Page(items=[KeyShape.of(key) for key in found], total=total, page=page, page_size=page_size)

    @router.delete("/api-keys/{key_id}")
    async def revoke_key(key_id: str, actor: Annotated[Principal, Depends(admin)]) -> RevokedShape:
        """Revoke a key for good."""
        await directory.revoke_key(key_id, actor=actor)
        return RevokedShape()

    return router


def _workspace_id(body: KeyBody) -> str:
    if body.workspace_id is None:
        raise _wrong("a user key needs one")
    return body.workspace_id


def _require_no_workspace(body: KeyBody) -> None:
    if body.workspace_id is not None:
        raise _wrong("an admin key has none")


def _wrong(why: str) -> ServiceError:
    return ServiceError(ErrorCode.INVALID_REQUEST, f"workspace_id: {why}", details={"field": "workspace_id"})
