"""Peak memory of a piece of work: the device's own counter, or a thread that watches the process.

On a CPU it is the growth of resident memory, seen every few milliseconds; memory that was freed
before is given back to the system first, where its allocator can, so as not to be used unseen.
"""

import ctypes
import resource
import threading
from pathlib import Path
from types import TracebackType

import torch

EVERY = 0.004
STATM = Path("/proc/self/statm")


class PeakMemory:
    """A context whose `bytes`, after it, is the most that was taken within it.

    Attributes:
        bytes: at the peak, over those `before`.
    """

    def __init__(self, device: torch.device) -> None:
        """Measure on this device."""
        self.cuda = device.type == "cuda"
        self.bytes = self.before = 0

    def __enter__(self) -> "PeakMemory":
        """Start."""
        if self.cuda:
            torch.cuda.reset_peak_memory_stats()
            self.before = torch.cuda.memory_allocated()
            return self
        _give_back_freed()
        self.before = _resident()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop, and keep the peak."""
        if self.cuda:
            self.bytes = torch.cuda.max_memory_allocated() - self.before
            return
        self._look()
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(EVERY):
            self._look()

    def _look(self) -> None:
        self.bytes = max(self.bytes, _resident() - self.before)


def _resident() -> int:
    """Return the process's resident bytes; where there is no /proc, the most it ever had."""
    try:
        pages = int(STATM.read_text().split()[1])
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return pages * resource.getpagesize()


def _give_back_freed() -> None:
    """Ask glibc to return freed memory to the system; elsewhere do nothing."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
