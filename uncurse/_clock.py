"""Where the seconds went: tracing and compilation are told apart from the work they serve."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import jax

from ._devices import agreed

_compilations: list[tuple[float, float]] = []      # (start, end) of every trace and compilation in this process
_listening: list[bool] = []


def _listen() -> None:
    """Ask JAX, once, to report what it compiles; it has no other way to say so."""
    if _listening:
        return
    _listening.append(True)

    def record(event: str, duration_secs: float, **_: object) -> None:
        if event.startswith("/jax/core/compile"):
            now = time.perf_counter()
            _compilations.append((now - duration_secs, now))

    jax.monitoring.register_event_duration_secs_listener(record)


def _compiling(start: float, end: float) -> float:
    """Seconds of [start, end] that were spent tracing or compiling; nested reports count once."""
    total, reached = 0.0, start
    for a, b in sorted(_compilations):
        a, b = max(a, reached), min(b, end)
        if b > a:
            total += b - a
            reached = b
    return total


@dataclass
class Clock:
    """Seconds since it was made, by stage. `elapsed` and `compile`, which decide, are the same in all processes."""

    start: float = field(default_factory=time.perf_counter)
    spent: dict[str, float] = field(default_factory=dict)       # without compilation

    def __post_init__(self) -> None:
        _listen()

    @property
    def elapsed(self) -> float:
        return agreed(time.perf_counter() - self.start)

    @property
    def compile(self) -> float:
        return agreed(_compiling(self.start, time.perf_counter()))

    @property
    def working(self) -> float:
        """Without compilation."""
        return self.elapsed - self.compile

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        begin = time.perf_counter()
        try:
            yield
        finally:
            end = time.perf_counter()
            self.spent[name] = self.spent.get(name, 0.0) + (end - begin) - _compiling(begin, end)
