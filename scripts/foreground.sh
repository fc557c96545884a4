#!/usr/bin/env bash
# Runs a command of .venv/bin that serves until Ctrl-C (`make run`, `make up`). On a terminal it gets a process
# group of its own in the foreground, so that Ctrl-C reaches it and not make, which would report its clean stop
# as an interrupt.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
program=".venv/bin/$1"
shift
if [[ -t 0 && "$(ps -o stat= -p $$ 2>/dev/null)" == *+* ]]; then
  set -m
  "$program" "$@"
else
  exec "$program" "$@"
fi
