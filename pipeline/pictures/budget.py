"""A budget of bytes that threads share: what is decoded at once, however many decode."""

import ctypes
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

_C = ctypes.CDLL(None)


def give_back() -> None:
    """Give freed memory back to the system, where the C library can.

    glibc keeps what a thread has freed for that thread alone: two threads that decode a large
    picture in turn would hold the memory of both.
    """
    if hasattr(_C, "malloc_trim"):
        _C.malloc_trim(0)


class Budget:
    """Bytes in flight, given out in the order in which they are asked for.

    What costs more than the whole budget waits until nothing else is in flight, and goes alone.
    """

    def __init__(self, total: int) -> None:
        """Start with nothing in flight."""
        self.total = total
        self.in_flight = 0
        self._turns: deque[object] = deque()
        self._changed = threading.Condition()

    @contextmanager
    def held(self, cost: int) -> Iterator[None]:
        """Wait for one's turn and for room, and hold `cost` bytes."""
        turn = object()
        with self._changed:
            self._turns.append(turn)
            self._changed.wait_for(lambda: self._turns[0] is turn and self._fits(cost))
            self._turns.popleft()
            self.in_flight += cost
            self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self.in_flight -= cost
                self._changed.notify_all()

    def _fits(self, cost: int) -> bool:
        return self.in_flight == 0 or self.in_flight + cost <= self.total
