"""A data directory has one owner, one version, and room to write."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from standalone.data_directory import DataDirectoryError, owned, write_durably


def test_a_new_directory_gets_the_fixed_layout_and_its_version(tmp_path: Path) -> None:
    with owned(tmp_path / "made" / "here") as directory:
        assert directory.version.read_text() == "1\n"
        made = {str(path.relative_to(directory.root)) for path in directory.root.rglob("*") if path.is_dir()}
    assert made == {"logs", "messages", "messages/raw", "messages/rejected", "metadata", "parquet"}
    assert not [path for path in directory.root.rglob("*") if path.name.endswith(".tmp")]


def test_a_second_owner_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    with owned(tmp_path), pytest.raises(DataDirectoryError, match=f"in use.*{os.getpid()}"), owned(tmp_path):
        pass
    with owned(tmp_path):
        pass


def test_the_lock_dies_with_its_process(tmp_path: Path) -> None:
    code = (
        "import os, pathlib, sys; from standalone.data_directory import owned\n"
        "with owned(pathlib.Path(sys.argv[1])): os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    with owned(tmp_path):
        pass


def test_another_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "metadata").mkdir()
    (tmp_path / "metadata/version").write_text("7\n")
    with pytest.raises(DataDirectoryError, match=r"'7'.*MILLRACE_DATA"), owned(tmp_path):
        pass
    assert not (tmp_path / "messages").exists()
    assert (tmp_path / "metadata/version").read_text() == "7\n"


def test_a_file_in_its_place_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    with pytest.raises(DataDirectoryError, match=r"not a directory.*MILLRACE_DATA"), owned(tmp_path / "data"):
        pass


OPEN = """
import pathlib, sys
from standalone.data_directory import DataDirectoryError, owned
try:
    with owned(pathlib.Path(sys.argv[1])):
        pass
except DataDirectoryError as error:
    sys.exit(str(error))
"""


def opened(root: Path, *wrapper: str) -> subprocess.CompletedProcess[str]:
    """A process that takes the directory, below a command that limits it."""
    command = [*wrapper, sys.executable, "-c", OPEN, str(root)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def unprivileged() -> list[str]:
    """What takes root's power to write anywhere; nothing for everybody else."""
    if os.geteuid() != 0:
        return []
    if shutil.which("setpriv") is None:
        pytest.skip("root writes anywhere, and there is no setpriv to prevent it")
    return ["setpriv", "--bounding-set", "-dac_override,-dac_read_search", "--"]


@pytest.mark.parametrize("place", ["metadata", "messages/raw"])
def test_a_place_that_cannot_be_written_is_an_error_naming_the_option(tmp_path: Path, place: str) -> None:
    limits = unprivileged()
    with owned(tmp_path):
        pass
    (tmp_path / "metadata/.standalone.lock").unlink()
    (tmp_path / place).chmod(0o555)
    try:
        ended = opened(tmp_path, *limits)
    finally:
        (tmp_path / place).chmod(0o755)
    assert ended.returncode == 1
    assert "no permission" in ended.stderr
    assert "MILLRACE_DATA" in ended.stderr


@pytest.mark.parametrize(("options", "why"), [("size=32k", "no space left"), ("ro", "read-only")])
def test_a_disk_that_takes_nothing_is_an_error_naming_the_option(
    tmp_path: Path, options: str, why: str
) -> None:
    mounted = ["unshare", "--mount", "--", "sh", "-c"]
    mount = f"mount -t tmpfs -o {options} none '{tmp_path}'"
    if subprocess.run([*mounted, mount], capture_output=True, check=False).returncode:
        pytest.skip("mounting a small disk needs root")
    ended = opened(tmp_path, *mounted, f'{mount} && exec "$@"', "sh")
    assert ended.returncode == 1
    assert why in ended.stderr
    assert "MILLRACE_DATA" in ended.stderr


def test_content_is_replaced_at_once(tmp_path: Path) -> None:
    write_durably(tmp_path / "note", b"old")
    write_durably(tmp_path / "note", b"new")
    assert (tmp_path / "note").read_bytes() == b"new"
    assert [path.name for path in tmp_path.iterdir()] == ["note"]
