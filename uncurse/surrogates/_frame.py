"""A few scalars that summarise (t, x): what features and networks are built on, scaled by the problem's own paths."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._devices import single
from ..problems import ParabolicPDE
from ._base import AbstractSurrogate, Point, Scalar

DIRECTIONS = 4
SHARPNESS = (-6.0, -2.0, 2.0, 6.0)


class Frame(eqx.Module):
    """Scaled coordinates and pooled scalars of a point.

    pooled(t, x): time; the baseline G; |x~|^2 and the mean of x~; the coordinates along the directions in which grad G
    varies most (active subspaces, Constantine 2015); and, where g is symmetric under permutations, soft extremes of x~.
    """

    centre: Float[Array, " d"]
    scale: Float[Array, " d"]
    level: Float[Array, ""]         # mean of g(X_T)
    spread: Float[Array, ""]        # standard deviation of g(X_T)
    directions: Float[Array, "k d"]
    base: AbstractSurrogate
    horizon: float = eqx.field(static=True)
    symmetric: bool = eqx.field(static=True)

    def coordinates(self, x: Point) -> Point:
        """x~ = (x - centre) / scale."""
        return (x - self.centre) / self.scale

    def pooled(self, t: Scalar, x: Point) -> tuple[Float[Array, " r"], Scalar]:
        """The scalars, each of order one, and G(t, x)."""
        g = self.base.value(t, x)
        y = self.coordinates(x)
        d = x.shape[0]
        common = jnp.stack([
            2 * t / self.horizon - 1, (g - self.level) / self.spread,
            (jnp.mean(y**2) - 1) * np.sqrt(d / 2), jnp.mean(y) * np.sqrt(d),
        ])
        parts = [common, self.directions @ y]
        if self.symmetric:
            b = jnp.asarray(SHARPNESS)
            parts.append((jax.nn.logsumexp(b[:, None] * y, axis=1) - jnp.log(float(d))) / b)
        return jnp.concatenate(parts), g

    @property
    def width(self) -> int:
        """Number r of pooled scalars."""
        return 4 + self.directions.shape[0] + (len(SHARPNESS) if self.symmetric else 0)

    @staticmethod
    def of(
        problem: ParabolicPDE, base: AbstractSurrogate, sample: Float[np.ndarray, "m d"], rng: np.random.Generator
    ) -> "Frame":
        """Scaled by m points that paths visited late."""
        scale = sample.std(axis=0)
        scale = np.where(scale > 0, scale, 1.0)
        shuffled = sample[:64, rng.permutation(problem.dim)]
        middle = jnp.asarray(np.float32(0.5 * problem.horizon))
        g, same, gradients = _evaluate(base, problem.terminal, jnp.asarray(sample), jnp.asarray(shuffled), middle)
        spread = float(np.std(g)) or max(abs(float(np.mean(g))), 1.0)
        symmetric = problem.dim > 1 and bool(np.allclose(same, g[:64], rtol=1e-4, atol=1e-4 * spread))
        scaled = np.asarray(gradients, dtype=np.float64) * scale
        k = min(DIRECTIONS, problem.dim)
        _, _, rows = np.linalg.svd(scaled, full_matrices=False)
        centre, scale, level, spread, directions = (
            single(a) for a in (sample.mean(axis=0), scale, np.mean(g), spread, rows[:k])
        )
        return Frame(centre, scale, level, spread, directions, base, problem.horizon, symmetric)

    @staticmethod
    def skeleton(problem: ParabolicPDE, base: AbstractSurrogate, recipe: dict[str, Any]) -> "Frame":
        d = problem.dim
        vector, number = jnp.zeros(d, dtype=np.float32), jnp.zeros((), dtype=np.float32)
        directions = jnp.zeros((min(DIRECTIONS, d), d), dtype=np.float32)
        return Frame(vector, vector, number, number, directions, base, problem.horizon, bool(recipe["symmetric"]))


@eqx.filter_jit
def _evaluate(
    base: AbstractSurrogate, terminal: Any, sample: Array, shuffled: Array, t: Array
) -> tuple[Array, Array, Array]:
    g = jax.vmap(terminal)
    return g(sample), g(shuffled), jax.vmap(base.gradient, in_axes=(None, 0))(t, sample[:256])
