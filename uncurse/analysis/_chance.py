"""Whether anything that is drawn can change what stopping pays."""

import jax
import numpy as np
from jaxtyping import Array

from ..problems import StoppingProblem
from ._elements import elements_in


def varies(problem: StoppingProblem) -> bool:
    """False if the traces prove that no payoff depends on the noise: it does not depend on x, or x has no noise."""
    d, words = problem.process.dim, problem.process.normals
    x = np.ones(d, bool)
    if elements_in(problem.payoff, [np.asarray(False), x]).independent.all():
        return False

    def step(t: Array, x: Array, dt: Array, xi: Array) -> Array:
        return problem.process.step(t, x, dt, xi, jax.numpy.zeros_like(x))[0]

    chosen = [np.asarray(False), ~x, np.asarray(False), np.ones(words, bool)]
    return not elements_in(step, chosen).independent.all()
