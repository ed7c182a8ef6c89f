"""The most memory that this process has had: of its own program alone."""

from pathlib import Path

import psutil


def peak_bytes() -> int:
    """Return the process's high-water mark of resident memory.

    Linux counts it anew when a program begins; `getrusage` goes on from its parent's, which built
    what is measured. Where there is no /proc: what is resident now.
    """
    try:
        said = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:
        return int(psutil.Process().memory_info().rss)
    (line,) = (line for line in said.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024
