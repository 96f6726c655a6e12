"""Full-history recursive multilevel Picard iteration.

With M = n samples a level, U_0 = 0, independent draws throughout, and h = R - t for a random time R in (t, T) of
density rho,

    U_n(t, x) = (g(x), 0) + mean over M^n of [g(X_T) - g(x)] (1, W_{T-t} / (T - t))
              + sum_{l<n} mean over M^{n-l} of [f(U_l) - 1_{l>0} f(U_{l-1})](R, X_R) / rho(R) (1, W_h / h).

The second component is z = sigma^T grad u (Bismut, Elworthy and Li). The first alone, with R uniform: E, Hutzenthaler,
Jentzen and Kruse (2016; 2019, J. Sci. Comput. 79). With the second: the same (2019), and Hutzenthaler, Jentzen and
Kruse (2022, Found. Comput. Math. 22) for the random time, here of density (h (T - t))^(-1/2) / 2, which keeps the
variance of the weight finite. The expectation of a level is a Picard iterate; it is biased for u at every level.

The value is the mean of `RUNS` independent runs, and the spread its standard error, as far as so few runs can tell it.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from uncurse.analysis import analyse
from uncurse.problems import ParabolicPDE
from uncurse.processes import Brownian, GeometricBrownian

from ._common import NOTHING, Deadline, Outcome, gradient_of, never

UNIT = "level"
RUNS = 5


def budgets(problem: ParabolicPDE) -> tuple[int, ...]:
    return 1, 2, 3, 4, 5, 6


def solve(
    problem: ParabolicPDE, at: Float[np.ndarray, " d"], budget: int, *, seed: int = 0, deadline: Deadline = never,
    runs: int = RUNS,
) -> Outcome:
    """U_n at level n = `budget`, with M = n.

    Raises:
        ValueError: f depends on the gradient, and the process is not one of constant volatility in its chart without
            mean reversion: the weight W / h is wrong for it.
    """
    values = runs_of(problem, at, budget, max(budget, 1), runs, seed, deadline)
    if values is None:
        return NOTHING
    spread = float(np.std(values, ddof=1) / np.sqrt(runs)) if runs > 1 else None
    return Outcome(float(np.mean(values)), spread, budget)


def runs_of(
    problem: ParabolicPDE, at: Float[np.ndarray, " d"], level: int, samples: int, runs: int, seed: int,
    deadline: Deadline = never,
) -> Float[np.ndarray, " runs"] | None:
    """U_level(0, at), `runs` times; None if time ran out."""
    weighted = analyse(problem, at[None]).uses_gradient
    if weighted and not isinstance(problem.process, (Brownian, GeometricBrownian)):
        raise ValueError(f"no Bismut-Elworthy-Li weight for {type(problem.process).__name__}")
    recursion = _Recursion(problem, samples, weighted, np.random.default_rng([seed, 2]), deadline)
    start = np.tile(np.asarray(at, dtype=np.float32), (runs, 1))
    try:
        return recursion.iterate(level, np.zeros(runs, dtype=np.float32), start)[0].astype(np.float64)
    except TimeoutError:
        return None


class _Recursion:
    """The recursion in NumPy, over many points at once; what is a function of the problem is compiled.

    All batches have runs * M^k rows, so that few shapes are compiled.
    """

    def __init__(self, problem: ParabolicPDE, samples: int, weighted: bool, rng: np.random.Generator, over: Deadline):
        self.problem, self.samples, self.weighted, self.rng, self.over = problem, samples, weighted, rng, over

    def iterate(self, n: int, t: Float[np.ndarray, " b"], x: Float[np.ndarray, "b d"]) -> tuple[np.ndarray, np.ndarray]:
        """(u, z) at each of b points, independent of one another."""
        if self.over():
            raise TimeoutError
        noises = self.problem.process.noise_dim
        if n == 0:
            return np.zeros(len(t), np.float32), np.zeros((len(t), noises if self.weighted else 0), np.float32)
        here = np.asarray(_terminal(self.problem, jnp.asarray(x)))
        _, dt, _, y, dw = self._sample(t, x, self.samples**n, to_end=True)
        change = np.asarray(_terminal(self.problem, jnp.asarray(y))) - np.repeat(here, self.samples**n)
        u, z = self._mean(change, dw, dt, len(t))
        u = u + here
        for lower in range(n):
            s, dt, weight, y, dw = self._sample(t, x, self.samples ** (n - lower), to_end=False)
            term = self._source(lower, s, y)
            if lower:
                term = term - self._source(lower - 1, s, y)
            du, dz = self._mean(weight * term, dw, dt, len(t))
            u, z = u + du, z + dz
        return u, z

    def _sample(self, t: np.ndarray, x: np.ndarray, count: int, *, to_end: bool) -> tuple[np.ndarray, ...]:
        """`count` random times and states from each point: (time, h, 1 / rho, X, W_h)."""
        t, x = np.repeat(t, count), np.repeat(x, count, axis=0)
        left = np.float32(self.problem.horizon) - t
        if to_end:
            dt, weight = left, np.ones_like(left)
        else:
            r = 1 - self.rng.random(len(t), dtype=np.float32)       # in (0, 1]
            # r^2 has density 1 / (2 sqrt): more points near t, where W_h / h is large
            dt, weight = (left * r**2, 2 * left * r) if self.weighted else (left * r, left)
        xi = self.rng.standard_normal((len(t), self.problem.process.normals), dtype=np.float32)
        y, dw = _step(self.problem, *map(jnp.asarray, (t, x, dt, xi)))
        return t + dt, dt, weight, np.asarray(y), np.asarray(dw)

    def _source(self, n: int, t: np.ndarray, x: np.ndarray) -> np.ndarray:
        """f(t, x, U_n)."""
        u, z = self.iterate(n, t, x)
        inputs = map(jnp.asarray, (t, x, u, z) if self.weighted else (t, x, u))
        return np.asarray(_source(self.problem, *inputs))

    def _mean(self, term: np.ndarray, dw: np.ndarray, dt: np.ndarray, points: int) -> tuple[np.ndarray, np.ndarray]:
        """Mean of term (1, W_h / h) over the samples of each point."""
        u = term.reshape(points, -1).mean(axis=1)
        if not self.weighted:
            return u, np.zeros((points, 0), np.float32)
        slope = (term / np.maximum(dt, np.finfo(np.float32).tiny)).reshape(points, 1, -1)
        count = slope.shape[2]
        return u, (slope @ dw.reshape(points, count, -1))[:, 0] / count


@eqx.filter_jit
def _terminal(problem: ParabolicPDE, x: Float[Array, "b d"]) -> Float[Array, " b"]:
    return jax.vmap(problem.terminal)(x)


@eqx.filter_jit
def _step(problem: ParabolicPDE, t: Array, x: Array, dt: Array, xi: Array) -> tuple[Array, Array]:
    return jax.vmap(lambda t, x, dt, xi: problem.process.step(t, x, dt, xi, jnp.zeros_like(x)))(t, x, dt, xi)


@eqx.filter_jit
def _source(problem: ParabolicPDE, t: Array, x: Array, u: Array, z: Array | None = None) -> Float[Array, " b"]:
    assert problem.source is not None
    if z is None:
        return jax.vmap(problem.source)(t, x, u, jnp.zeros_like(x))
    grad = jax.vmap(lambda t, x, z: gradient_of(problem.process, t, x, z))(t, x, z)
    return jax.vmap(problem.source)(t, x, u, grad)
