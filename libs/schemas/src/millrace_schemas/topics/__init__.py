"""The topics of the bus as reviewed data: one YAML file each, with examples that every consumer's tests decode."""

import dataclasses
import functools
import importlib.resources
from typing import Any

import yaml

NAMES = ("webhook.messages", "lake.commits")


@dataclasses.dataclass(frozen=True, slots=True)
class Topic:
    """A topic: who writes and reads it, its key, partitions, retention and where its poison goes."""

    name: str
    description: str
    producers: tuple[str, ...]
    consumers: tuple[str, ...]
    key: str
    value: str
    partitions: int
    retention_days: int
    dead_letter: str
    embedded: str
    examples: tuple[str, ...]

    def example_values(self) -> dict[str, bytes]:
        """Example file name -> record value."""
        root = importlib.resources.files("millrace_schemas.examples")
        return {name: root.joinpath(name).read_bytes().strip() for name in self.examples}


@functools.cache
def load(name: str) -> Topic:
    """The topic of that name; KeyError for an unknown one."""
    if name not in NAMES:
        raise KeyError(f"no topic {name!r}; there are {', '.join(NAMES)}")
    data: dict[str, Any] = yaml.safe_load(
        importlib.resources.files(__name__).joinpath(f"{name}.yaml").read_text("utf-8")
    )
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
    return Topic(**values)
