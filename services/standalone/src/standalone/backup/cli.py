"""`millrace backup` and `millrace restore`. Light to import: the command line loads it to list its commands."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Annotated, Any

import typer

from millrace.cli.options import Data

if TYPE_CHECKING:
    from standalone.backup.manifest import Manifest

_IDS_SKIPPED = 1_000_000_000
_MOST_IDS = 2_000_000_000
_EX_CONFIG = 78

Json = Annotated[bool, typer.Option("--json", help="Print what was done as one JSON object.")]


def backup(
    target: Annotated[Path, typer.Argument(help="Directory to make; it must not be there yet.")],
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Copy an installation, in use or not, to a new directory.

    Databases on a server are dumped by pg_dump where MILLRACE_AUTH_DATABASE_URL and MILLRACE_ID_DATABASE_URL name
    them.
    """

    def work() -> dict[str, Any]:
        from standalone.backup.databases import BackupSettings
        from standalone.backup.take import take

        root, settings = _root(data), BackupSettings.load()
        credentials = settings.credentials_file or root / "credentials.json"
        taken = take(root, target.expanduser().absolute(), settings.servers(root), credentials, _progress)
        for name in taken.left_out:
            sys.stderr.write(f"millrace: left out, since it is no part of an installation: {root / name}\n")
        return _summary(taken.manifest, taken.manifest.databases) | {
            "data": str(root),
            "backup": str(target),
            "left_out": taken.left_out,
        }

    _done(work, as_json, lambda found: f"{found['backup']}: a backup of {found['data']}")


def restore(
    source: Annotated[Path, typer.Argument(help="A directory that `millrace backup` has made.")],
    data: Data = None,
    with_databases: Annotated[
        bool,
        typer.Option(
            "--databases/--no-databases",
            help="Bring dumps into the empty databases that MILLRACE_AUTH_DATABASE_URL and MILLRACE_ID_DATABASE_URL "
            "name.",
        ),
    ] = True,
    skip_ids: Annotated[
        int,
        typer.Option(
            "--skip-ids",
            min=1,
            max=_MOST_IDS,
            help="Ids of every tag to leave out: more than were issued since the backup.",
        ),
    ] = _IDS_SKIPPED,
    as_json: Json = False,
) -> None:
    """Lay a backup into an empty data directory, every file checked.

    New messages come in at a new door; the journals of the backup keep their name.
    """

    def work() -> dict[str, Any]:
        from standalone.backup.databases import BackupSettings
        from standalone.backup.restore import restore as lay_down

        root = _root(data)
        servers = BackupSettings.load().servers(root) if with_databases else None
        manifest = lay_down(source.expanduser().absolute(), root, servers, skip_ids, _progress)
        return _summary(manifest, manifest.databases if with_databases else []) | {
            "data": str(root),
            "backup": str(source),
            "made_at": manifest.made_at,
        }

    _done(work, as_json, lambda found: f"{found['data']}: restored as it was at {found['made_at']}")


def _done(
    work: Callable[[], dict[str, Any]], as_json: bool, headline: Callable[[dict[str, Any]], str]
) -> None:
    """Do it and say what was done; exit 1 with the cause when it cannot be done, 78 for a wrong setting."""
    from millrace_runtime.settings import SettingsError
    from standalone.backup.errors import BackupError

    began = monotonic()
    try:
        found = work()
    except (BackupError, SettingsError) as error:
        sys.stderr.write(f"millrace: {error}\n")
        raise typer.Exit(_EX_CONFIG if isinstance(error, SettingsError) else 1) from None
    found["seconds"] = round(monotonic() - began, 3)
    if as_json:
        import msgspec

        typer.echo(msgspec.json.format(msgspec.json.encode(found), indent=2))
        return
    tables = ", ".join(f"{name} {version}" for name, version in found["tables"].items())
    typer.echo(headline(found))
    typer.echo(f"  {found['files']:,} files, {found['bytes'] / 1e6:,.1f} MB, {found['seconds']:.1f} s")
    typer.echo(f"  lake       {f'{tables} (versions)' if tables else 'none'}")
    typer.echo(f"  journals   {', '.join(found['doors'].values()) or 'none'}")
    typer.echo(f"  databases  {', '.join(found['databases']) or 'none'}")


def _summary(manifest: "Manifest", dumps: list[str]) -> dict[str, Any]:
    from standalone.backup.databases import SETTINGS

    files = [name for name in (f"metadata/{name}.sqlite" for name in SETTINGS) if name in manifest.by_path]
    return {
        "files": len(manifest.files),
        "bytes": manifest.size,
        "tables": manifest.tables,
        "doors": {
            place: door
            for place, door in manifest.doors.items()
            if place.startswith(("messages/raw", "messages/f"))
        },
        "databases": [*files, *dumps],
    }


def _root(data: Path | None) -> Path:
    from millrace.installation import default_data_directory

    return (data or default_data_directory()).expanduser().absolute()


@contextmanager
def _progress(part: str, size: int) -> Iterator[Callable[[int], None]]:
    """A progress bar on a terminal, nothing elsewhere."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(part, total=size)
        yield lambda count: progress.advance(task, count)
