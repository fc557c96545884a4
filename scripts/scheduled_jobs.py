"""The deployment files of the scheduled jobs, made from their one definition (`standalone/storage/jobs.yaml`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from standalone.storage.jobs import Job, Jobs

DEFINITION = "services/standalone/src/standalone/storage/jobs.yaml"
MADE = f"# Made from {DEFINITION} by `python scripts/check_deployment.py --write`.\n"

_UNITS = Path("systemd")
_CRON_JOBS = Path("k8s/components/storage-jobs/cronjobs.yaml")


def files() -> dict[Path, str]:
    """Every file, by its place below deploy/."""
    from standalone.storage.jobs import load

    jobs = load()
    found = {_UNITS / "millrace-storage-.service.d/job.conf": _limits(jobs)}
    for job in jobs.jobs:
        found[_UNITS / f"millrace-storage-{job.name}.service"] = _service(job)
        found[_UNITS / f"millrace-storage-{job.name}.timer"] = _timer(job)
    found[_CRON_JOBS] = _documents(_cron_jobs(jobs))
    return found


def problems(deploy: Path) -> Iterator[str]:
    """What of it is not in `deploy` as it would be made, and what was made of a job that is no more."""
    wanted = files()
    for path, content in wanted.items():
        if not (deploy / path).exists() or (deploy / path).read_text() != content:
            yield f"{path} is not as {DEFINITION} says; run `python scripts/check_deployment.py --write`"
    for path in sorted((deploy / _UNITS).glob("millrace-storage-*.*")):
        if path.is_file() and path.relative_to(deploy) not in wanted:
            yield f"{path.relative_to(deploy)} is of no job"


def write(deploy: Path) -> None:
    """Make all of it anew."""
    for path, content in files().items():
        (deploy / path).parent.mkdir(parents=True, exist_ok=True)
        (deploy / path).write_text(content)


def _limits(jobs: Jobs) -> str:
    return f"""{MADE}# What differs from other processes: systemd reads this after common.conf.

[Service]
# A failed job is reported, and runs again when it is due.
Restart=no
TimeoutStartSec=infinity
MemoryMax={jobs.memory_mb}M
CPUQuota={jobs.cpu_percent}%
Nice=10
IOSchedulingClass=idle
"""


def _service(job: Job) -> str:
    return f"""{MADE}
[Unit]
Description=Millrace {job.name} job: {job.description}
After=network-online.target
Wants=network-online.target

[Service]
Type=oneshot
EnvironmentFile=/etc/millrace/storage-jobs.env
ExecStart=/opt/millrace/bin/millrace storage job {job.name}
"""


def _timer(job: Job) -> str:
    lines = [f"OnCalendar={job.at.calendar}"]
    if job.after_boot_s:
        lines.append(f"OnBootSec={job.after_boot_s}")
    if job.random_delay_s:
        lines.append(f"RandomizedDelaySec={job.random_delay_s}")
    timing = "\n".join(lines)
    return f"""{MADE}
[Unit]
Description=Millrace {job.name} job, when it is due
PartOf=millrace.target

[Timer]
{timing}
AccuracySec=1
# A run that was missed while the host was off is caught up.
Persistent=true

[Install]
WantedBy=timers.target
"""


def _cron_jobs(jobs: Jobs) -> Iterator[Mapping[str, Any]]:
    for job in jobs.jobs:
        command = ["millrace", "storage", "job", job.name]
        if job.random_delay_s:
            command += ["--random-delay-s", str(job.random_delay_s)]
        yield {
            "apiVersion": "batch/v1",
            "kind": "CronJob",
            "metadata": {"name": f"storage-{job.name}", "labels": {"millrace/part": "storage-jobs"}},
            "spec": {
                "schedule": job.at.cron,
                "timeZone": "Etc/UTC",
                "concurrencyPolicy": "Forbid",
                # One that was missed is caught up within so many seconds.
                "startingDeadlineSeconds": 3600 if job.at.hour is None else 43_200,
                "successfulJobsHistoryLimit": 1,
                "failedJobsHistoryLimit": 3,
                "jobTemplate": {
                    "spec": {"backoffLimit": 0, "template": _pod(f"storage-{job.name}", command, jobs)}
                },
            },
        }


def _pod(name: str, command: list[str], jobs: Jobs) -> Mapping[str, Any]:
    return {
        "metadata": {"labels": {"app.kubernetes.io/name": name, "millrace/volume": "lake"}},
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": 60,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 10001,
                "runAsGroup": 10001,
                "fsGroup": 10001,
                "fsGroupChangePolicy": "OnRootMismatch",
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            # The lake is a volume of one node: what mounts it runs there.
            "affinity": {
                "podAffinity": {
                    "requiredDuringSchedulingIgnoredDuringExecution": [
                        {
                            "topologyKey": "kubernetes.io/hostname",
                            "labelSelector": {"matchLabels": {"millrace/volume": "lake"}},
                        }
                    ]
                }
            },
            "containers": [
                {
                    "name": name,
                    "image": "millrace/standalone",
                    "command": command,
                    "env": [
                        {"name": "MILLRACE_DATA", "value": "/var/lib/millrace"},
                        *(
                            {
                                "name": variable,
                                "valueFrom": {"configMapKeyRef": {"name": "installation", "key": key}},
                            }
                            for variable, key in (
                                ("MILLRACE_BUS", "bus"),
                                ("MILLRACE_COORDINATION", "coordination"),
                                ("MILLRACE_LOG_LEVEL", "log-level"),
                            )
                        ),
                    ],
                    "resources": {
                        "requests": {"cpu": "50m", "memory": "256Mi"},
                        "limits": {"cpu": f"{jobs.cpu_percent * 10}m", "memory": f"{jobs.memory_mb}M"},
                    },
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "readOnlyRootFilesystem": True,
                        "capabilities": {"drop": ["ALL"]},
                    },
                    "volumeMounts": [
                        {"name": "lake", "mountPath": "/var/lib/millrace"},
                        {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 the pod's own
                    ],
                }
            ],
            "volumes": [
                {"name": "lake", "persistentVolumeClaim": {"claimName": "lake"}},
                {"name": "tmp", "emptyDir": {"sizeLimit": "1Gi"}},
            ],
        },
    }


def _documents(objects: Iterator[Mapping[str, Any]]) -> str:
    import yaml

    return MADE + yaml.safe_dump_all(objects, sort_keys=False, width=110)
