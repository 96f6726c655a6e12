"""solve(): propose while that pays, then certify with frozen parameters and fresh paths."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import jax
import numpy as np
from jaxtyping import ArrayLike

from . import _checks
from ._devices import full_precision, interrupts
from ._request import Request
from ._solution import Result, Solution, ToleranceNotMetError
from .problems import ControlProblem, Problem, StoppingProblem
from .report import Progress

if TYPE_CHECKING:
    from .methods import AbstractMethod


def solve(
    problem: Problem,
    at: ArrayLike,
    *,
    rtol: float = 1e-3,
    atol: float = 0.0,
    confidence: float = 0.99,
    method: "str | AbstractMethod | None" = None,
    seed: int = 0,
    time_limit: float | None = None,
    progress: bool = True,
    throw: bool = True,
) -> Solution:
    """u(0, x) of a problem at one point or many, with an interval that can be checked.

    u is the solution of a `ParabolicPDE`, the least expected cost of a `ControlProblem` or the largest expected payoff
    of a `StoppingProblem`, from x at t = 0.

    Args:
        problem: the equation, or the decision to be taken.
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
    if not isinstance(problem, Problem):
        hint = "; pass its .problem" if isinstance(getattr(problem, "problem", None), Problem) else ""
        kinds = "a uc.ParabolicPDE, uc.ControlProblem or uc.StoppingProblem"
        raise TypeError(f"problem must be {kinds}; got {type(problem).__name__}{hint}")
    points = _checks.points(at, problem.dim)
    atol = _checks.number("atol", atol, at_least=0.0)
    rtol = _checks.number("rtol", rtol, at_least=0.0) if atol else _checks.number("rtol", rtol, above=0.0)
    confidence = _checks.number("confidence", confidence, above=0.0, below=1.0)
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or not 0 <= seed < 2**32:
        raise ValueError(f"seed must be a whole number from 0 to 2^32 - 1; got {seed!r}")
    limit = np.inf if time_limit is None else _checks.number("time_limit", time_limit, above=0.0)
    request = Request(
        np.atleast_2d(points), points.ndim == 1, (rtol, atol), confidence, int(seed), limit, method
    )
    run = _runner(problem, request)
    target = f"rtol {rtol:g}" if not atol else f"max({atol:g}, {rtol:g} |u|)"
    with full_precision(), interrupts(), Progress(progress and jax.process_index() == 0, target) as request.progress:
        solution = run()
    if throw and solution.result not in (Result.tolerance_met, Result.interrupted):
        raise ToleranceNotMetError(solution)
    return solution


def _runner(problem: Problem, request: Request) -> Callable[[], Solution]:
    """What solves this class of problems, with the method checked. `import uncurse` does not wait for it."""
    if isinstance(problem, ControlProblem):
        from ._control import Control

        return Control.of(problem, request).go
    if isinstance(problem, StoppingProblem):
        from ._stopping import Stopping

        return Stopping.of(problem, request).go
    from ._loop import Run
    from .methods import plan

    return Run(problem, request, plan(request.method)).go
