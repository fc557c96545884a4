"""Where the data files of a dataset lie: the table in the lake, and the one in the archive."""

from dataclasses import dataclass
from pathlib import Path

ARCHIVE = "archive/"
"""What the names of archived files begin with; other names are relative to the table in the lake."""


@dataclass(frozen=True, slots=True)
class Tables:
    """The directories of one dataset. Neither has to be there; `archive` None: it is not asked."""

    hot: Path
    archive: Path | None = None

    def locate(self, name: str) -> Path:
        """The file of this name."""
        if name.startswith(ARCHIVE) and self.archive is not None:
            return self.archive / name.removeprefix(ARCHIVE)
        return self.hot / name
