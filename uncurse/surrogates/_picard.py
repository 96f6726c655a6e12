"""Multilevel Picard iterates over frozen noise: no training at all."""

from collections.abc import Callable
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
from ._smoothed import Smoothed


class Picard(AbstractSurrogate):
    """U_n = G + sum_{l < n} (T - t)/M^{n-l} sum_i [f(U_l) - 1_{l>0} f(U_{l-1})](R_i, X_{R_i}), U_0 = G.

    Multilevel Picard iteration (E, Hutzenthaler, Jentzen and Kruse 2019, eq. 1.6, here started from G), with the noise
    frozen, so that U_n is an ordinary function of (t, x) and its gradient is the derivative of that function.

    Args:
        level: n; its cost grows like (M J)^n.
        samples: M, the base of the sample sizes.
    """

    base: Smoothed
    noise: tuple[Float[Array, "samples normals"], ...]      # one block a level of the sum
    when: tuple[Float[Array, " samples"], ...]
    source: Callable = eqx.field(static=True)
    level: int = eqx.field(static=True)

    @staticmethod
    def of(problem: ParabolicPDE, base: Smoothed, level: int, samples: int, rng: np.random.Generator) -> "Picard":
        assert problem.source is not None
        sizes = [samples ** (level - k) for k in range(level)]
        normals = problem.process.normals
        noise = tuple(single(rng.standard_normal((m, normals))) for m in sizes)
        when = tuple(single((np.arange(m) + 0.5) / m) for m in sizes)
        return Picard(base, noise, when, problem.source, level)

    @property
    def dim(self) -> int:
        return self.base.dim

    def value(self, t: Scalar, x: Point) -> Scalar:
        return self._iterate(self.level, t, x)

    def _iterate(self, n: int, t: Scalar, x: Point) -> Scalar:
        total = self.base.value(t, x)
        left = self.base.horizon - t
        for lower in range(n):
            k = lower + self.level - n      # the same blocks serve inner iterates, from the smaller end

            def term(xi: Float[Array, " normals"], r: Scalar, lower: int = lower) -> Scalar:
                dt = jnp.maximum(r * left, 1e-7 * self.base.horizon)
                y, _ = self.process.step(t, x, dt, xi, jnp.zeros_like(x))
                upper = self._source(lower, t + dt, y)
                return upper - self._source(lower - 1, t + dt, y) if lower else upper

            total = total + left * jnp.mean(jax.vmap(term)(self.noise[k], self.when[k]))
        return total

    def _source(self, n: int, t: Scalar, x: Point) -> Scalar:
        u, grad = jax.value_and_grad(lambda x: self._iterate(n, t, x))(x)
        return self.source(t, x, u, grad)

    @property
    def process(self) -> AbstractProcess:
        return self.base.process

    def recipe(self) -> dict[str, Any]:
        return {"class": "Picard", "level": self.level, "samples": self.noise[-1].shape[0], "base": self.base.recipe()}

    @staticmethod
    def skeleton(problem: ParabolicPDE, base: Smoothed, recipe: dict[str, Any]) -> "Picard":
        return Picard.of(problem, base, int(recipe["level"]), int(recipe["samples"]), np.random.default_rng(0))
