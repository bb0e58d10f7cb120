"""Settings of the C library's allocator for a server with many threads."""

from __future__ import annotations

import ctypes
import logging

logger = logging.getLogger(__name__)

# malloc.h of glibc
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_M_ARENA_MAX = -8

ARENAS = 1
LARGE_BYTES = 128 * 1024
"""The size in bytes from which an allocation has its own mapping, which is unmapped when it is freed."""


def limit_malloc() -> None:
    """Make malloc return freed memory, and share it between threads. Idempotent; no-op without glibc.

    By default, each thread of a server gets an arena, and keeps the memory of the largest response that it has built.
    Under Python's global interpreter lock, several arenas save no time. Call it before the first thread is started.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        logger.debug("this C library has no mallopt()")
        return
    for parameter, value in (
        (_M_ARENA_MAX, ARENAS),
        (_M_TRIM_THRESHOLD, LARGE_BYTES),
        (_M_MMAP_THRESHOLD, LARGE_BYTES),
    ):
        mallopt(parameter, value)
