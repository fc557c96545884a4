"""Who asks, and what may they do: principals, verifiers, and the edges that read the key."""

from millrace_runtime.auth.cached import CachedVerifier
from millrace_runtime.auth.edges import api_key_dependency, principal_from_metadata
from millrace_runtime.auth.principal import Principal, Role, Verifier, key_hash
from millrace_runtime.auth.remote import GrpcVerifier, remote_verifier

__all__ = [
    "CachedVerifier",
    "GrpcVerifier",
    "Principal",
    "Role",
    "Verifier",
    "api_key_dependency",
    "key_hash",
    "principal_from_metadata",
    "remote_verifier",
]
