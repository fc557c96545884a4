"""Reading Prometheus' text format as far as the command line needs it."""

import re

_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


def values(text: str, metric: str, label: str) -> dict[str, int] | None:
    """The metric's samples, whole numbers, by the value of one label; None when it is not declared."""
    found = {}
    for line in text.splitlines():
        if line.startswith(f"{metric}{{"):
            labels, _, value = line.removeprefix(metric).rpartition(" ")
            found[dict(_LABEL.findall(labels)).get(label, "")] = int(float(value))
    return found if found or f"# TYPE {metric} " in text else None
