"""The installation that these tests work on."""

from ..conftest import DAY, NOW_MS, Installation, messages

__all__ = ["DAY", "NOW_MS", "Installation", "messages"]
