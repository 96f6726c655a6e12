"""Seconds since the process started: what a user waits for, imports included."""

import os
import time
from pathlib import Path


def _age() -> float:
    """Seconds that this process had lived when this module was imported; 0 where the system does not say."""
    try:
        # The name of the program is in parentheses and may hold spaces: what follows it is field 3 onwards.
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        ticks = int(fields[19]) / os.sysconf("SC_CLK_TCK")
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks
    except (OSError, AttributeError, IndexError, ValueError):
        return 0.0
    return max(age, 0.0)


_AGE, _IMPORTED = _age(), time.perf_counter()


def since_start() -> float:
    """Seconds since the process started, or since this module was imported where the system does not say more."""
    return _AGE + time.perf_counter() - _IMPORTED
