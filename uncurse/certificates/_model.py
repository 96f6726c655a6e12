"""A problem as the simulation sees it."""

from collections.abc import Callable
from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._devices import single
from ..analysis import Variation
from ..problems import ParabolicPDE
from ..processes import AbstractProcess
from ._bending import Bending

Scalar = Float[Array, ""]
Point = Float[Array, " d"]


class Model(eqx.Module):
    """A problem as the simulation sees it: arrays that can be traced, functions that cannot."""

    process: AbstractProcess
    source: Callable = eqx.field(static=True)
    terminal: Callable = eqx.field(static=True)
    horizon: float = eqx.field(static=True)
    directions: Float[Array, "k m"] | None = None       # of noise, along which f_z varies; None: unknown
    bending: Bending | None = None                      # how f_u varies, where f has kinks in u

    @staticmethod
    def of(
        problem: ParabolicPDE,
        value_range: tuple[float, float] | None = None,
        directions: Float[np.ndarray, "k m"] | None = None,
        variation: Variation | None = None,
    ) -> "Model":
        """With a range that u is known to keep, f is continued affinely in u outside it: u stays the same, and what is
        known of f on the range holds wherever yhat strays."""
        assert problem.source is not None
        source = problem.source if value_range is None else Extended(problem.source, *map(float, value_range))
        basis = None if directions is None else single(directions)
        bending = None if variation is None else Bending.of(variation)
        return Model(problem.process, source, problem.terminal, problem.horizon, basis, bending)


@dataclass(frozen=True)
class Extended:
    """f for u in [low, high], continued by its tangents: f(v) + f_u(v) (u - v), v the nearest point of the range."""

    source: Callable
    low: float
    high: float

    def __call__(self, t: Scalar, x: Point, u: Scalar, grad: Point) -> Scalar:
        v, inside = jax.lax.stop_gradient(jnp.clip(u, self.low, self.high)), (u >= self.low) & (u <= self.high)
        _, rise = jax.jvp(lambda v: self.source(t, x, v, grad), (v,), (u - v,))
        return self.source(t, x, jnp.where(inside, u, v), grad) + jnp.where(inside, 0.0, rise)
