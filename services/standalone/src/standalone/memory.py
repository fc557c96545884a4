"""Keeping one process with many libraries small."""

import ctypes
import gc
import os


def prefer_one_allocator() -> None:
    """Have Arrow allocate like everything else, unless the environment says otherwise; before pyarrow is
    imported. Its own pool keeps what a burst needed."""
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")


def give_back() -> None:
    """Return what the start, or a burst, has freed to the system, where the C library can (glibc)."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
