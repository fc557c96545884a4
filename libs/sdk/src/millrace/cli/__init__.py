"""`millrace` on the command line. Each command imports what it needs when it runs."""

import sys


def main() -> None:
    """Entry point. Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted with Ctrl-C."""
    if sys.argv[1:] == ["--version"]:
        from millrace import __version__

        sys.stdout.write(f"millrace {__version__}\n")
        return
    try:
        from millrace.cli.app import run

        run()
    except KeyboardInterrupt:
        sys.exit(130)
