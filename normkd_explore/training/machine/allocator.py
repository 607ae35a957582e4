"""Keep the memory of a step for the next one, instead of giving it back to the system and asking again.

glibc's malloc takes every large block from the kernel and returns it when it is freed. A training step frees all its
activations, so the next step finds none of that memory, and the kernel has to clear every page anew: some 3,000 page
faults a step of a resnet8 with 64 images, a fifth of its time on a quiet machine and more beside other work.
"""

from __future__ import annotations

import ctypes
import os

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h
LARGEST_KEPT = 32 * 2**20  # bytes; glibc takes no larger threshold, so larger blocks still go back
KEPT_FREE = 2**30  # bytes of free memory at the heap's end that are not given back
ITS_OWN = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES", "LD_PRELOAD")


def keep_freed_memory() -> bool:
    """Let malloc keep what is freed; True where that took effect.

    Nothing is changed without glibc (macOS, Windows, musl), and nothing where the user tunes or replaces malloc.
    """
    if any(name in os.environ for name in ITS_OWN) or not _has_glibc():
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(M_MMAP_THRESHOLD, LARGEST_KEPT) and mallopt(M_TRIM_THRESHOLD, KEPT_FREE))


def _has_glibc() -> bool:
    try:
        return bool(os.confstr("CS_GNU_LIBC_VERSION"))
    except (AttributeError, OSError, ValueError):
        return False
