"""Plain Monte Carlo on the linearised problem: one Newton step from a constant, and no more.

f is replaced by its first-order expansion at (u, grad) = (m, 0), with m = E g(X_T) from a pilot:

    f(t, x, u, grad) ~ h + c u + b . grad,    c = f_u,  b = f_grad,  h = f - c m,  all at (t, x, m, 0).

The linear equation has u(0, x) = E[exp(int c) g(X_T) + int exp(int c) h dt] on paths with the extra drift b (Feynman
and Kac). Coefficients are frozen over each of 20 steps; if they do not depend on (t, x), one step is exact. The spread
is the standard error of the mean. What linearisation leaves out does not shrink with the number of paths.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from uncurse.analysis import analyse
from uncurse.problems import ParabolicPDE
from uncurse.processes import mean_decay

from ._common import NOTHING, Deadline, Outcome, never

UNIT = "paths"
STEPS = 20
CHUNK = 4096


def budgets(problem: ParabolicPDE) -> tuple[int, ...]:
    return CHUNK, 16 * CHUNK, 256 * CHUNK


def solve(
    problem: ParabolicPDE, at: Float[np.ndarray, " d"], budget: int, *, seed: int = 0, deadline: Deadline = never
) -> Outcome:
    """Mean and standard error over `budget` paths, rounded up to whole chunks."""
    steps = STEPS if analyse(problem, at[None]).uses_point else 1
    rng = np.random.default_rng([seed, 1])
    x = jnp.asarray(at, dtype=np.float32)

    def normals(steps: int) -> Float[Array, "steps paths m"]:
        return jnp.asarray(rng.standard_normal((steps, CHUNK, problem.process.normals), dtype=np.float32))

    expand = jnp.asarray(np.mean(_ends(problem, x, normals(1))), dtype=np.float32)
    count, total, squares = 0, 0.0, 0.0
    while count < budget and not (count and deadline()):
        found = np.asarray(_totals(problem, x, expand, normals(steps)), dtype=np.float64) - float(expand)
        count, total, squares = count + CHUNK, total + found.sum(), squares + (found**2).sum()
    if count == 0:
        return NOTHING
    mean = total / count
    return Outcome(float(expand) + mean, float(np.sqrt((squares / count - mean**2) / count)), count)


@eqx.filter_jit
def _ends(problem: ParabolicPDE, x: Array, xi: Float[Array, "one paths m"]) -> Float[Array, " paths"]:
    """g(X_T), for processes that are sampled exactly; a rough pilot for the others."""
    horizon = jnp.asarray(problem.horizon, dtype=np.float32)

    def one(xi: Array) -> Array:
        return problem.terminal(problem.process.step(jnp.zeros_like(horizon), x, horizon, xi, jnp.zeros_like(x))[0])

    return jax.vmap(one)(xi[0])


@eqx.filter_jit
def _totals(
    problem: ParabolicPDE, x: Array, expand: Array, xi: Float[Array, "steps paths m"]
) -> Float[Array, " paths"]:
    """exp(int c) g(X_T) + int exp(int c) h dt, path by path."""
    assert problem.source is not None
    dt = jnp.asarray(problem.horizon / xi.shape[0], dtype=np.float32)
    slopes = jax.value_and_grad(problem.source, argnums=(2, 3))

    def advance(carry: tuple, inputs: tuple) -> tuple[tuple, None]:
        x, weight, total = carry
        t, xi = inputs
        f, (c, b) = slopes(t, x, expand, jnp.zeros_like(x))
        h = f - c * expand
        total = total + weight * h * dt * mean_decay(-c * dt)       # the integral of exp(c s) over the step
        x, _ = problem.process.step(t, x, dt, xi, problem.process.tilt(x, b))
        return (x, weight * jnp.exp(c * dt), total), None

    def path(xi: Array) -> Array:
        times = jnp.arange(xi.shape[0]) * dt
        start = (x, jnp.ones_like(dt), jnp.zeros_like(dt))
        (end, weight, total), _ = jax.lax.scan(advance, start, (times, xi))
        return total + weight * problem.terminal(end)

    return jax.vmap(path, in_axes=1)(xi)
