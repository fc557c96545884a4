"""The machine that figures come from."""

import os
import platform
from pathlib import Path
from typing import Any

import psutil


def facts(directory: Path) -> dict[str, Any]:
    """Cores, memory, CPU, Python, kernel, the file system of `directory`, and the load right now."""
    return {
        "cores": len(os.sched_getaffinity(0)),
        "memory_mb": psutil.virtual_memory().total // 1_000_000,
        "cpu": _cpu(),
        "python": platform.python_version(),
        "kernel": platform.release(),
        "file_system": _file_system(directory),
        "load_average": [round(load, 2) for load in os.getloadavg()],
    }


def peak_mb(pid: int | None = None) -> float:
    """Most resident memory that a process (this one without `pid`) ever had, in MB (10^6 bytes).

    Not `ru_maxrss`: that begins with the memory of the process that started it.
    """
    for line in Path(f"/proc/{pid or os.getpid()}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise OSError("the kernel does not tell the peak of resident memory")


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _file_system(directory: Path) -> str:
    """Type and device of the mount that holds `directory`."""
    resolved = directory.resolve()
    holding = [
        mount for mount in psutil.disk_partitions(all=True) if resolved.is_relative_to(mount.mountpoint)
    ]
    if not holding:
        return "unknown"
    nearest = max(holding, key=lambda mount: len(mount.mountpoint))
    return f"{nearest.fstype} on {nearest.device}"
