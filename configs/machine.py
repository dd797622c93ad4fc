"""What a process has of the machine it runs on, on any platform."""

import ctypes
import gc
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def cores() -> int:
    """Return how many cores this process may use, as far as the system tells."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def processor() -> str:
    """Return what the machine calls its processor."""
    place = Path("/proc/cpuinfo")
    if place.exists():
        for line in place.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def available_memory() -> int | None:
    """Return how many bytes are left to take; None where the system does not say.

    A container's own limit counts, where there is one.
    """
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        sizes = {name: size for name, _, size in (line.partition(":") for line in lines)}
        left = int(sizes["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError):
        return None
    try:
        most, used = (
            int(Path("/sys/fs/cgroup", name).read_text())
            for name in ("memory.max", "memory.current")
        )
    except (OSError, ValueError):  # no such limit
        return left
    return min(left, most - used)


def use_large_pages() -> None:
    """Have PyTorch ask Linux for large pages, unless the environment says otherwise.

    To be called before PyTorch makes its first tensor.  A codec's activations are hundreds of
    megabytes, and page by page the system takes a third of the time to hand them out.
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")


def give_memory_back() -> None:
    """Collect garbage, and have glibc return to the system what it keeps of freed memory.

    Its arenas, one a thread, keep what activations of several threads have left in pieces:
    more than a gigabyte after a transformer of released size.
    """
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)


@contextmanager
def new_garbage_only() -> Iterator[None]:
    """Keep what is there now out of collections of garbage, which look for what comes next.

    Imported modules alone are a third of a million objects, and every look at them takes a
    sixth of a second.
    """
    frozen = gc.get_freeze_count()
    gc.freeze()
    try:
        yield
    finally:
        if not frozen:  # else a program of its own has some that it keeps out
            gc.unfreeze()


def peak_memory() -> int | None:
    """Return the most bytes that this process had; None where the system keeps no count."""
    if sys.platform == "win32":
        import psutil

        return int(psutil.Process().memory_info().peak_wset)
    try:
        import resource
    except ImportError:
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024  # it counts in KiB elsewhere
