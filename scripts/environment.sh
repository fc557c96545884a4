#!/usr/bin/env bash
# Makes or refreshes .venv: every package of the workspace and the development tools, as locked.
# Needs Python 3.11, 3.12 or 3.13 with pip, or uv. Never downloads an interpreter.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export UV_PYTHON_DOWNLOADS=never
unset VIRTUAL_ENV

# The first interpreter that runs (a version manager's shim may not) and is in range.
find_python() {
  local candidate found
  for candidate in python3 python3.13 python3.12 python3.11; do
    found=$("$candidate" -c '
import sys
if (3, 11) <= sys.version_info[:2] < (3, 14):
    print(getattr(sys, "_base_executable", sys.executable))' 2>/dev/null) || continue
    if [[ -n "$found" ]]; then
      echo "$found"
      return
    fi
  done
  echo "Millrace needs Python 3.11, 3.12 or 3.13 on PATH; found none that runs." >&2
  return 1
}

# uv from PATH, else a private one below build/.
find_uv() {
  if uv --version >/dev/null 2>&1; then
    echo uv
  elif build/uv/bin/uv --version >/dev/null 2>&1; then
    echo build/uv/bin/uv
  else
    echo "Installing uv below build/ ..." >&2
    "$1" -m pip install --quiet --disable-pip-version-check --target build/uv uv >&2 || {
      "$1" -m venv build/uv-venv >&2 && build/uv-venv/bin/pip install --quiet uv >&2
      mkdir -p build/uv/bin && ln -sf ../../uv-venv/bin/uv build/uv/bin/uv
    }
    echo build/uv/bin/uv
  fi
}

if .venv/bin/python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null; then
  python=.venv/bin/python
  uv=$(find_uv "$(.venv/bin/python -c 'import sys; print(sys._base_executable)')")
else
  python=$(find_python)
  uv=$(find_uv "$python")
  echo "Making .venv with $("$python" --version) ..." >&2
fi
"$uv" sync --quiet --frozen --all-packages --python "$python"
