"""Who may log in to the secured servers."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote


@dataclass(frozen=True)
class Login:
    """A name and a password."""

    name: str
    password: str

    @property
    def userinfo(self) -> str:
        """`name:password` as it stands in a URL."""
        return f"{quote(self.name, safe='')}:{quote(self.password, safe='')}"


OWNER = Login("millrace", "own/er:p@ss%41?#&=+ word")
"""May do everything. The password has what must be quoted in a URL."""

LIMITED = Login("limited", "limited-password")
"""May log in, and nothing else."""

WRONG = Login("millrace", "not-the-password")
"""Is refused."""
