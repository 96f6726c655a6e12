"""What a run is doing, on standard error: a live line on a terminal, a few plain lines elsewhere."""

import sys
import time
from typing import Any

from . import _numbers

QUIET_SECONDS = 5.0
"""Without a terminal, nothing is said before this."""
LINE_EVERY = 10.0
"""Without a terminal, at most one line in so many seconds."""


class Progress:
    """Reports stage, interval, target and time left. Does nothing when disabled.

    On a terminal this is one `tqdm` line that is erased at the end. Elsewhere (a log, a notebook, a test) a short run
    says nothing and a long one says a line now and then.

    Args:
        enabled: False for silence.
        target: what is being aimed for: a half-width in units of u, or words such as "rtol 0.001".
    """

    def __init__(self, enabled: bool, target: float | str | None = None):
        self._enabled = enabled
        self._target = f"± {_numbers.error(target)}" if isinstance(target, float | int) else target
        self._start = self._stage_start = time.perf_counter()
        self._said = self._start + QUIET_SECONDS - LINE_EVERY
        self._stage = "starting"
        self._bar: Any = None
        self._live = enabled and sys.stderr.isatty()
        if self._live:
            from tqdm import tqdm

            form = {"bar_format": "{desc}{bar:16}", "dynamic_ncols": True, "leave": False}
            self._bar = tqdm(total=1.0, file=sys.stderr, mininterval=0, **form)
            self._show(None, "")

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def stage(self, name: str) -> None:
        """Begin a stage: "pilot", "training", "certificate"."""
        self._stage, self._stage_start = name, time.perf_counter()
        self._show(None, "")

    def update(self, fraction: float | None = None, low: float | None = None, high: float | None = None,
               note: str = "") -> None:  # fmt: skip
        """Say how far the stage is (None: unknown) and what is known of the answer.

        Args:
            fraction: share of this stage that is done, 0 to 1.
            low, high: the current interval, of the worst point where there are many.
            note: a few words, such as "step 200, variance 0.0013".
        """
        if not self._enabled:
            return
        words = []
        if low is not None and high is not None:
            _, left, right = _numbers.interval((low + high) / 2, low, high)
            words.append(f"[{left}, {right}] ± {_numbers.error((high - low) / 2)}")
        if self._target:
            words.append(f"target {self._target}")
        remaining = self._remaining(fraction)
        if remaining is not None:
            words.append(f"about {_seconds(remaining)} left in this stage")
        words += [note] if note else []
        self._show(fraction, ", ".join(words))

    def close(self) -> None:
        """Erase the live line."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
        self._enabled = False

    def _remaining(self, fraction: float | None) -> float | None:
        if fraction is None or not 0.0 < fraction <= 1.0:
            return None
        return (time.perf_counter() - self._stage_start) * (1.0 - fraction) / fraction

    def _show(self, fraction: float | None, words: str) -> None:
        if not self._enabled:
            return
        now = time.perf_counter()
        head = f"{_seconds(now - self._start):>6}  {self._stage}"
        if self._bar is not None:
            self._bar.n = min(max(fraction or 0.0, 0.0), 1.0)
            self._bar.set_description_str(head + "  ", refresh=False)
            # tqdm would put a comma before a postfix, also where there is no number before it.
            self._bar.bar_format = "{desc}{bar:16}  " + words.replace("{", "{{").replace("}", "}}")
            self._bar.refresh()
        elif not self._live and now - self._said >= LINE_EVERY:
            self._said = now
            print(f"uncurse: {head.strip()}{': ' if words else ''}{words}", file=sys.stderr, flush=True)


def _seconds(seconds: float) -> str:
    if seconds < 60.0:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s"
