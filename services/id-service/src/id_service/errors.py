"""The service's refusals, each worded once (ID-51, ID-54)."""

from millrace_runtime.errors import ErrorCode, ServiceError


def invalid(field: str, why: str) -> ServiceError:
    """400: `field` of the request is wrong."""
    return ServiceError(ErrorCode.INVALID_REQUEST, f"{field}: {why}", details={"field": field})


def forbidden(why: str) -> ServiceError:
    """403: the key is known and may not do this."""
    return ServiceError(ErrorCode.FORBIDDEN, why)


def unknown_workspace(workspace: str) -> ServiceError:
    """404: no workspace of this name."""
    return ServiceError(
        ErrorCode.WORKSPACE_NOT_FOUND,
        f"workspace {workspace} does not exist",
        details={"workspace": workspace},
    )


def unknown_group(group: str) -> ServiceError:
    """404: the workspace has no group of this name."""
    return ServiceError(ErrorCode.GROUP_NOT_FOUND, f"group {group} does not exist", details={"group": group})


def unknown_tag(tag: str) -> ServiceError:
    """404: the group has no biz_tag of this name."""
    return ServiceError(
        ErrorCode.BIZ_TAG_NOT_FOUND, f"biz_tag {tag} does not exist", details={"biz_tag": tag}
    )


def segment_exhausted(tag: str, datacenter_id: int, current_id: int, max_id: int) -> ServiceError:
    """The row cannot supply what was asked (ID-13, ID-16)."""
    return ServiceError(
        ErrorCode.SEGMENT_EXHAUSTED,
        "the tag's range cannot supply the request",
        details={
            "biz_tag": tag,
            "datacenter_id": datacenter_id,
            "current_id": str(current_id),
            "max_id": str(max_id),
        },
    )


def allocation_failed(why: str) -> ServiceError:
    """A range could not be had although the database answers."""
    return ServiceError(ErrorCode.SEGMENT_ALLOCATE_FAILED, why)


def database_unavailable() -> ServiceError:
    """The database does not answer."""
    return ServiceError(ErrorCode.DATABASE_UNAVAILABLE, "the id database does not answer")
