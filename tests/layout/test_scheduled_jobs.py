"""The scheduled jobs (LAKE section 13): units, timers and CronJobs say what their one definition says."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from types import ModuleType

import pytest
from tests.layout.conftest import DEPLOY, ROOT, Overlay

from standalone.storage.jobs import At, load


@pytest.fixture(scope="module")
def scheduled_jobs() -> ModuleType:
    spec = importlib.util.spec_from_file_location("scheduled_jobs", ROOT / "scripts/scheduled_jobs.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_jobs_run_when_the_sheet_says() -> None:
    jobs = load().by_name
    hourly, daily = jobs["hourly"], jobs["daily"]
    assert (hourly.at, hourly.after_boot_s) == (At(minute=5), 300)
    assert 0 < hourly.random_delay_s <= 120
    assert daily.at == At(minute=0, hour=2)
    assert [[step.command[0] for step in job.steps] for job in jobs.values()] == [
        ["dump-parquet"],
        ["dump-parquet", "cleanup"],
        ["validate", "detect-duplicates", "archive"],
    ]
    assert (load().memory_mb, load().cpu_percent) == (2000, 50)


def test_a_moment_is_the_same_for_both_schedulers() -> None:
    monthly = At(minute=30, hour=3, day=1)
    assert (monthly.cron, monthly.calendar) == ("30 3 1 * *", "*-*-01 03:30:00 UTC")
    assert (At(minute=5).cron, At(minute=5).calendar) == ("5 * * * *", "*-*-* *:05:00 UTC")


def test_the_files_are_those_of_the_definition(scheduled_jobs: ModuleType) -> None:
    assert list(scheduled_jobs.problems(DEPLOY)) == []


def test_a_file_that_is_not_is_named(scheduled_jobs: ModuleType, tmp_path: Path) -> None:
    scheduled_jobs.write(tmp_path)
    changed = tmp_path / "systemd/millrace-storage-daily.timer"
    changed.write_text(changed.read_text().replace("02:00", "03:00"))
    shutil.copy(changed, changed.with_name("millrace-storage-weekly.timer"))
    (tmp_path / "k8s/components/storage-jobs/cronjobs.yaml").unlink()
    problems = list(scheduled_jobs.problems(tmp_path))
    assert [problem.split()[0] for problem in problems] == [
        "systemd/millrace-storage-daily.timer",
        "k8s/components/storage-jobs/cronjobs.yaml",
        "systemd/millrace-storage-weekly.timer",
    ]


@pytest.mark.parametrize("job", load().jobs, ids=lambda job: job.name)
def test_a_unit_runs_the_job_once_within_its_limits(job: object) -> None:
    name = f"millrace-storage-{job.name}"  # type: ignore[attr-defined]
    service = (DEPLOY / "systemd" / f"{name}.service").read_text()
    assert f"ExecStart=/opt/millrace/bin/millrace storage job {job.name}\n" in service  # type: ignore[attr-defined]
    timer = (DEPLOY / "systemd" / f"{name}.timer").read_text()
    assert "Persistent=true" in timer
    limits = (DEPLOY / "systemd" / "millrace-storage-.service.d" / "job.conf").read_text().splitlines()
    assert {"MemoryMax=2000M", "CPUQuota=50%", "Restart=no"} <= set(limits)
    # systemd reads the drop-ins of all prefixes in the order of their file names: the last word is this one's.
    assert sorted(["common.conf", "job.conf"])[-1] == "job.conf"


def test_a_cron_job_never_runs_beside_itself_and_keeps_to_its_limits(overlay: Overlay) -> None:
    found = list(overlay.of("CronJob"))
    if overlay.name == "dev":
        assert found == []  # a cluster for trying things out is kept by hand
        return
    assert sorted(one["metadata"]["name"] for one in found) == sorted(
        f"storage-{job}" for job in load().by_name
    )
    for one in found:
        assert one["spec"]["concurrencyPolicy"] == "Forbid"
        assert one["spec"]["jobTemplate"]["spec"]["backoffLimit"] == 0
        (container,) = one["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
        assert container["resources"]["limits"] == {"cpu": "500m", "memory": "2000M"}
