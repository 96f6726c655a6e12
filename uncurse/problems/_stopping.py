"""Optimal stopping at given dates: what a user states, and no numerics."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Array, ArrayLike, Float

from .. import _checks
from ..processes import AbstractProcess
from ._reference import Reference

Scalar = Float[Array, ""]
Point = Float[Array, " d"]


@dataclass(frozen=True, eq=False)
class StoppingProblem:
    """Maximise E[ exp(-discount tau) payoff(tau, X_tau) ] over rules tau that stop at one of `dates`.

    A rule may use X up to the date, and no more; it stops at the last date at the latest. A Bermudan option is one; an
    American option is the limit of many dates.

    Args:
        process: the diffusion X.
        payoff: (t, x) -> (), for one point.
        dates: times (n,), increasing, the first at least 0 and the last above 0.
        discount: rate r, per unit of time.
        reference: a known value, to be printed beside the answer.
        name: a label for reports.
        zoo: the name and the parameters of the zoo case that made this problem.

    Raises:
        TypeError, ValueError: an argument of the wrong kind, shape or sign; nothing is compiled to find out.
    """

    process: AbstractProcess
    payoff: Callable[[Scalar, Point], Scalar]
    dates: ArrayLike
    discount: float = 0.0
    reference: Reference | None = None
    name: str = "stopping"
    zoo: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.process, AbstractProcess):
            raise TypeError(f"process must be a process such as uc.GeometricBrownian(...); got {self.process!r}")
        _checks.returns("payoff", self.payoff, [("t", ()), ("x", (self.process.dim,))], ())
        dates = _checks.finite("dates", _checks.as_array("dates", self.dates))
        if dates.ndim != 1 or len(dates) == 0:
            raise ValueError(f"dates must be a list of times; got shape {dates.shape}")
        if dates[0] < 0 or dates[-1] <= 0 or (np.diff(dates) <= 0).any():
            raise ValueError(f"dates must increase from 0 or later to a last one above 0; got {dates.tolist()}")
        object.__setattr__(self, "dates", dates)
        object.__setattr__(self, "discount", _checks.number("discount", self.discount))

    @property
    def dim(self) -> int:
        """Number d of coordinates."""
        return self.process.dim

    @property
    def horizon(self) -> float:
        """The last date."""
        return float(np.asarray(self.dates)[-1])
