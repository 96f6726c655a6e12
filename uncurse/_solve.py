"""solve(): propose while that pays, then certify with frozen parameters and fresh paths."""

import jax
import numpy as np
from jaxtyping import ArrayLike

from . import _checks
from ._devices import interrupts
from ._loop import Run
from ._solution import Result, Solution, ToleranceNotMetError
from .methods import AbstractMethod, plan
from .problems import ParabolicPDE
from .report import Progress


def solve(
    problem: ParabolicPDE,
    at: ArrayLike,
    *,
    rtol: float = 1e-3,
    atol: float = 0.0,
    confidence: float = 0.99,
    method: str | AbstractMethod | None = None,
    seed: int = 0,
    time_limit: float | None = None,
    progress: bool = True,
    throw: bool = True,
) -> Solution:
    """u(0, x) of a problem at one point or many, with an interval that can be checked.

    Args:
        problem: the equation.
        at: where u is wanted at t = 0: (d,) or (n, d).
        rtol: relative tolerance: the half-width of the interval is at most max(atol, rtol |value|), for each point.
        atol: absolute tolerance, in units of u.
        confidence: of the interval, for each point.
        method: "smoothing", "picard", "features", "network", a method object, or None to let the run choose.
        seed: of every random number; the same seed gives the same answer on the same machine.
        time_limit: seconds; when they are over, the best honest interval comes back.
        progress: show what is going on, on standard error.
        throw: raise `ToleranceNotMetError` where the tolerance was not met; False returns the solution in any case.

    Returns:
        A `Solution`. After Ctrl-C, the best honest interval so far.

    Raises:
        TypeError, ValueError: bad input, before anything is compiled.
        ToleranceNotMetError: see `throw`; its `solution` holds what was found.
    """
    if not isinstance(problem, ParabolicPDE):
        hint = "; pass its .problem" if isinstance(getattr(problem, "problem", None), ParabolicPDE) else ""
        raise TypeError(f"problem must be a uc.ParabolicPDE; got {type(problem).__name__}{hint}")
    points = _checks.points(at, problem.dim)
    atol = _checks.number("atol", atol, at_least=0.0)
    rtol = _checks.number("rtol", rtol, at_least=0.0) if atol else _checks.number("rtol", rtol, above=0.0)
    tolerance = (rtol, atol)
    confidence = _checks.number("confidence", confidence, above=0.0, below=1.0)
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or not 0 <= seed < 2**32:
        raise ValueError(f"seed must be a whole number from 0 to 2^32 - 1; got {seed!r}")
    limit = np.inf if time_limit is None else _checks.number("time_limit", time_limit, above=0.0)
    methods = plan(method)
    run = Run(problem, np.atleast_2d(points), tolerance, confidence, int(seed), limit, methods)
    target = f"rtol {rtol:g}" if not atol else f"max({atol:g}, {rtol:g} |u|)"
    with interrupts(), Progress(progress and jax.process_index() == 0, target) as run.progress:
        solution = run.go(one_point=points.ndim == 1)
    if throw and solution.result not in (Result.tolerance_met, Result.interrupted):
        raise ToleranceNotMetError(solution)
    return solution
