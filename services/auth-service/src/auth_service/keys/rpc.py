"""`millrace.auth.v1.AuthService`: the gRPC door."""

from typing import Any

from grpc import aio

from auth_service.keys.access import require_admin
from auth_service.keys.directory import KeyDirectory
from auth_service.keys.model import Key, KeyPrincipal, Role
from auth_service.keys.requests import KeyRequest, WorkspaceRequest
from auth_service.metrics import KEY_CHECKS
from millrace.auth.v1 import auth_pb2 as pb
from millrace.auth.v1 import auth_pb2_grpc
from millrace_runtime.auth import CachedVerifier, Principal, principal_from_metadata
from millrace_runtime.errors import ServiceError
from millrace_runtime.metrics import Metrics

SERVICE_NAME: str = pb.DESCRIPTOR.services_by_name["AuthService"].full_name

_ROLES = {Role.ADMIN: pb.ROLE_ADMIN, Role.USER: pb.ROLE_USER}

Context = Any
"""`grpc.aio.ServicerContext`, whose type parameters say nothing here."""


class AuthRpc(auth_pb2_grpc.AuthServiceServicer):
    """Translates messages; the rules are the directory's. Failures are `ServiceError`s."""

    def __init__(self, directory: KeyDirectory, verifier: CachedVerifier, metrics: Metrics) -> None:
        self._directory = directory
        self._verifier = verifier
        self._checks = metrics.counter(KEY_CHECKS)

    def register(self, server: aio.Server) -> None:
        """Add the methods to `server`."""
        auth_pb2_grpc.add_AuthServiceServicer_to_server(self, server)

    async def CreateWorkspace(  # noqa: N802 the protocol's name
        self, request: pb.CreateWorkspaceRequest, context: Context
    ) -> pb.CreateWorkspaceResponse:
        """Add a workspace without keys. INVALID_ARGUMENT, ALREADY_EXISTS."""
        actor = await self._admin(context)
        wanted = WorkspaceRequest(request.name, request.description)
        workspace = await self._directory.create_workspace(wanted, actor=actor)
        return pb.CreateWorkspaceResponse(workspace=pb.Workspace(id=workspace.id, name=workspace.name))

    async def CreateKey(  # noqa: N802
        self, request: pb.CreateKeyRequest, context: Context
    ) -> pb.CreateKeyResponse:
        """Make a key and show its text. INVALID_ARGUMENT, NOT_FOUND (workspace), ALREADY_EXISTS."""
        actor = await self._admin(context)
        wanted = KeyRequest(
            request.name, scopes=tuple(request.scopes), expires_at_ms=request.expires_at_ms or None
        )
        if request.workspace:
            issued = await self._directory.create_user_key(wanted, workspace=request.workspace, actor=actor)
        else:
            issued = await self._directory.create_admin_key(wanted, actor=actor)
        return pb.CreateKeyResponse(key=_message(issued.key), api_key=issued.text)

    async def CheckKey(  # noqa: N802
        self, request: pb.CheckKeyRequest, context: Context
    ) -> pb.CheckKeyResponse:
        """Who holds the key. UNAUTHENTICATED: unknown; PERMISSION_DENIED: revoked or expired;
        UNAVAILABLE: not in the cache, and the database cannot tell."""
        try:
            principal = await self._verifier.check(request.api_key)
        except ServiceError as error:
            self._checks.labels(result=error.code.name.lower()).inc()
            raise
        self._checks.labels(result="ok").inc()
        assert isinstance(principal, KeyPrincipal)  # what the verifier's source gives
        return pb.CheckKeyResponse(key=_message(principal.key))

    async def RevokeKey(  # noqa: N802
        self, request: pb.RevokeKeyRequest, context: Context
    ) -> pb.RevokeKeyResponse:
        """Revoke a key for good. NOT_FOUND; FAILED_PRECONDITION: the last enabled admin key."""
        actor = await self._admin(context)
        return pb.RevokeKeyResponse(key=_message(await self._directory.revoke_key(request.id, actor=actor)))

    async def ListKeys(  # noqa: N802
        self, request: pb.ListKeysRequest, context: Context
    ) -> pb.ListKeysResponse:
        """All keys, or those of a workspace, oldest first. NOT_FOUND (workspace)."""
        await self._admin(context)
        keys, _ = await self._directory.list_keys(workspace=request.workspace or None)
        return pb.ListKeysResponse(keys=map(_message, keys))

    async def _admin(self, context: Context) -> Principal:
        return require_admin(await principal_from_metadata(self._verifier, context))


def _message(key: Key) -> pb.Key:
    return pb.Key(
        id=key.id,
        workspace=key.workspace or "",
        workspace_id=key.workspace_id or "",
        name=key.name,
        prefix=key.prefix,
        role=_ROLES[key.role],
        scopes=key.scopes,
        state=pb.KEY_STATE_ACTIVE if key.enabled else pb.KEY_STATE_REVOKED,
        created_at_ms=key.created_at_ms,
        expires_at_ms=key.expires_at_ms,
    )
