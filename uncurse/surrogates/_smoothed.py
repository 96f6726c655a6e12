"""The closed-form baseline: g averaged over frozen noise, the answer to the equation without f."""

from collections.abc import Callable
from statistics import NormalDist
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._devices import single
from ..problems import ParabolicPDE
from ..processes import AbstractProcess
from ._base import AbstractSurrogate, Point, Scalar

NODES = 32       # nodes; more fall out of the cache, fewer make a longer program


class Smoothed(AbstractSurrogate):
    """G(t, x) = mean_j g(X_T^{t,x}(xi_j)), with 2J normals xi_j = +-xi frozen once and for all.

    In high dimension the noise concentrates on a shell, so a few antithetic pairs smooth g nearly as well as the true
    expectation; that costs no training at all. It is a smooth function of (t, x) where g is one.

    Args:
        problem: gives g, T and the process. A process that is stepped takes one Euler step from t to T here.
        pairs: J; 4 serve smooth payoffs, kinked ones want more: see `choose_pairs`.
    """

    process: AbstractProcess
    noise: Float[Array, "pairs normals"]
    horizon: float = eqx.field(static=True)
    terminal: Callable = eqx.field(static=True)

    @staticmethod
    def of(problem: ParabolicPDE, pairs: int, rng: np.random.Generator) -> "Smoothed":
        noise = frozen_noise(rng, pairs, problem.process.normals)
        return Smoothed(problem.process, noise, problem.horizon, problem.terminal)

    @property
    def dim(self) -> int:
        return self.process.dim

    def value(self, t: Scalar, x: Point) -> Scalar:
        left = jnp.maximum(self.horizon - t, 1e-7 * self.horizon)    # sqrt has no derivative at 0

        nodes = jnp.concatenate([self.noise, -self.noise])
        payoff = jax.vmap(lambda xi: self._payoff(t, x, left, xi))
        parts = [jnp.sum(payoff(nodes[i : i + NODES])) for i in range(0, len(nodes), NODES)]
        return sum(parts, jnp.zeros_like(t)) / len(nodes)

    def recipe(self) -> dict[str, Any]:
        return {"class": "Smoothed", "pairs": self.noise.shape[0]}

    def _payoff(self, t: Scalar, x: Point, left: Scalar, xi: Float[Array, " normals"]) -> Scalar:
        end, _ = self.process.step(t, x, left, xi, jnp.zeros_like(x))
        return self.terminal(end)


def frozen_noise(rng: np.random.Generator, pairs: int, normals: int) -> Float[Array, "pairs normals"]:
    """Directions at random; lengths at the quantiles of a chi distribution, so that mean |xi|^2 is exactly right.

    Quantiles of chi^2 by Wilson and Hilferty (1931): m (1 - 2/(9m) + z sqrt(2/(9m)))^3.
    """
    m = normals
    z = np.array([NormalDist().inv_cdf((j + 0.5) / pairs) for j in range(pairs)])
    squares = m * np.maximum(1 - 2 / (9 * m) + z * np.sqrt(2 / (9 * m)), 0.0) ** 3
    lengths = np.sqrt(squares * m / squares.mean())
    directions = rng.standard_normal((pairs, m))
    if pairs <= m:
        directions = np.linalg.qr(directions.T)[0].T      # orthogonal: no two pairs probe the same direction
    unit = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    return single(unit * lengths[:, None])
