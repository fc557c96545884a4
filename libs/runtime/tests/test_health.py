import asyncio

from millrace_runtime.health import Health


async def fine() -> None:
    """A dependency that works."""


async def broken() -> None:
    raise RuntimeError("the journal cannot be written: disk full")


async def test_without_checks_a_running_service_is_ready() -> None:
    assert await Health().ready() == {"ready": True, "failing": [], "checks": {}}


async def test_a_failing_check_is_named_with_its_reason() -> None:
    health = Health({"lake": fine, "journal": broken})
    assert await health.ready() == {
        "ready": False,
        "failing": ["journal"],
        "checks": {"lake": "ok", "journal": "the journal cannot be written: disk full"},
    }


async def test_readiness_returns_by_itself() -> None:
    health = Health({"journal": broken})
    assert (await health.ready())["ready"] is False
    health.add("journal", fine)
    assert (await health.ready())["ready"] is True


async def test_a_hanging_check_has_failed_and_does_not_hide_the_others() -> None:
    health = Health({"lake": asyncio.Event().wait, "journal": broken}, timeout_s=0.01)  # type: ignore[dict-item]
    report = await health.ready()
    assert report["failing"] == ["lake", "journal"]
    checks = report["checks"]
    assert isinstance(checks, dict)
    assert checks["lake"] == "no answer within 0.01 s"


async def test_a_draining_service_is_not_ready_whatever_the_checks_say() -> None:
    health = Health({"lake": fine})
    health.draining = True
    report = await health.ready()
    assert (report["ready"], report["failing"]) == (False, ["draining"])
