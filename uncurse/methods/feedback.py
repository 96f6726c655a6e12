"""Feedback to begin with: by Riccati's recursion, of the problem without its bounds or along a noise-free path."""

from dataclasses import replace

import numpy as np
from jaxtyping import Float

from ..problems import ControlProblem
from ..surrogates import Feedback, Quadratic
from . import riccati


def feedbacks(
    problem: ControlProblem, quadratic: bool, start: Float[np.ndarray, " d"]
) -> list[tuple[Feedback, Quadratic, str]]:
    """Policies with a value surrogate and a name, from Riccati's recursion; none where no finite path was found."""
    n, d = problem.steps, problem.dim
    if quadratic:
        try:
            lq = riccati.solve_lq(replace(problem, control_bounds=None))
        except ValueError:      # without its bounds the cost is unbounded below
            lq = None
        if lq is not None:
            policy = Feedback.of(problem, np.zeros((n, d)), -lq.k, -lq.K)
            return [(policy, Quadratic.of(lq.P, lq.p, lq.c, problem.step), "Riccati, kept within the bounds")]
    near = riccati.linearised(problem, start)
    if not np.isfinite(near.cost):
        return []
    slope = near.p - np.einsum("kij,kj->ki", near.P, near.states)
    level = near.togo - np.einsum("ki,ki->k", near.p + slope, near.states) / 2
    policy = Feedback.of(problem, near.states, near.controls, near.gains)
    return [(policy, Quadratic.of(near.P, slope, level, problem.step), "feedback along a noise-free path")]
