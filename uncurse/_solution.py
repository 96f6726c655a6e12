"""What comes back: a number, its interval, what the interval rests on, and the record of how it was found."""

import dataclasses
import enum
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from .problems import Problem


class Guarantee(enum.StrEnum):
    """What an interval rests on, strongest first."""

    unbiased = "unbiased"          # exact in expectation; the interval is statistical only
    two_sided = "two_sided"        # both ends bound the truth, up to the stated confidence
    upper_bound = "upper_bound"    # only `high` is proved
    lower_bound = "lower_bound"    # only `low` is proved
    estimate = "estimate"          # asymptotic, or with an estimated constant

    def given(self, low: Float[np.ndarray, "*points"], high: Float[np.ndarray, "*points"]) -> "Guarantee":
        """The strongest word that these ends deserve: an infinite one is no bound."""
        if self is Guarantee.estimate:
            return self
        below = self is not Guarantee.upper_bound and bool(np.isfinite(low).all())
        above = self is not Guarantee.lower_bound and bool(np.isfinite(high).all())
        if below and above:
            return self
        return Guarantee.lower_bound if below else Guarantee.upper_bound if above else Guarantee.estimate


class Result(enum.Enum):
    """How a run ended; the value is advice."""

    tolerance_met = "the tolerance was met"
    time_limit = "the time limit came first: allow more time, or a larger rtol"
    interrupted = "interrupted: this is the best honest interval so far"
    sampling_limited = (
        "sampling would take too long at this variance: allow a larger rtol, or declare the problem's structure"
    )
    bias_limited = "a part of the error that more samples cannot shrink is above the tolerance: see the budget"
    heavy_tailed = (
        "a few paths carry the whole average, or none has met what makes u vary, so its error cannot be told: allow "
        "more time, or move `at` to where the terminal condition and the source are felt"
    )
    not_finite = "paths, or u along them, became infinite: does the source or the terminal condition blow up?"

    @property
    def advice(self) -> str:
        return self.value


@dataclass(frozen=True)
class Estimate:
    """A number with its interval, at the solution's confidence."""

    value: Float[np.ndarray, "*points"]
    low: Float[np.ndarray, "*points"]
    high: Float[np.ndarray, "*points"]


@dataclass(frozen=True)
class Snapshot:
    """The interval known after some seconds: the history that `plot` draws."""

    seconds: float
    low: Float[np.ndarray, "*points"]
    high: Float[np.ndarray, "*points"]
    stage: str          # "pilot" or "certificate"


@dataclass(frozen=True)
class Timing:
    """Seconds spent, apart: `setup` is import and compilation as far as they can be told apart from the work."""

    total: float
    compile: float
    train: float
    certify: float
    imports: float = 0.0


@dataclass(frozen=True, repr=False)
class Solution:
    """An answer with its error budget. Arrays are shaped like the points asked for: () for one, (n,) for n."""

    value: Float[np.ndarray, "*points"]
    low: Float[np.ndarray, "*points"]
    high: Float[np.ndarray, "*points"]
    confidence: float
    guarantee: Guarantee
    budget: dict[str, Float[np.ndarray, "*points"]]     # half-widths, in units of u
    assumptions: tuple[str, ...]
    baseline: Estimate                                  # the answer with f dropped
    result: Result
    at: Float[np.ndarray, "*points d"]
    problem: Problem | None
    field: Any = None                                   # the surrogate: field(t, x), field.grad(t, x)
    policy: Any = None                                  # of a decision problem: policy(t, x)
    timing: Timing = Timing(0.0, 0.0, 0.0, 0.0)
    history: tuple[Snapshot, ...] = ()
    stats: dict[str, Any] = dataclasses.field(default_factory=dict)
    record: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def half_width(self) -> Float[np.ndarray, "*points"]:
        """Largest distance from `value` to an end of the interval."""
        with np.errstate(invalid="ignore"):     # inf - inf is not known, and NaN says so
            return np.maximum(self.high - self.value, self.value - self.low)

    def __str__(self) -> str:
        from .report import as_text

        return as_text(self)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        from .report import as_html

        return as_html(self)

    def save(self, path: Any) -> None:
        """Write everything but the problem's functions to `path`; `uc.load(path)` reads it back."""
        from .report import save

        save(self, path)

    def plot(self, path: Any = None) -> Any:
        """Draw the interval against time spent, and the error budget; write the figure to `path` if one is given."""
        from .report import plot

        return plot(self, path)


class ToleranceNotMetError(RuntimeError):
    """Raised by `solve(..., throw=True)`; `solution` holds the best honest interval."""

    def __init__(self, solution: Solution):
        self.solution = solution
        super().__init__(f"{solution.result.advice}\n{solution}\nPass throw=False to get this as a value.")
