"""How many cores a worker's process takes."""

import os


def cores() -> int:
    """Return the number of cores for this process: those it may run on, or fewer if so told.

    OMP_NUM_THREADS is how whoever shares a machine tells a program; torch itself heeds it, and Ray
    sets it to an actor's share.
    """
    able = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    told = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return min(able, int(told)) if told.isdecimal() and int(told) else able
