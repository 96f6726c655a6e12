"""A closed form for f(t, x, u): the smoothed terminal value, carried along the ordinary differential equation of f."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from ..problems import ParabolicPDE
from ..processes import mean_decay
from ._base import AbstractSurrogate, Point, Scalar
from ._smoothed import Smoothed

SUBSTEPS = 2
STEEPEST = 8.0      # of df/du times a substep, either sign: beyond, exponentials would say nothing


class Flowed(AbstractSurrogate):
    """uhat(t, x) = y(T - t), with y' = f(t, x, y, 0), y(0) = G(t, x): the equation split into heat and reaction.

    The splitting is exact where f = c u, and for a constant g; else its error is the commutator's. The flow takes two
    exponential Rosenbrock-Euler steps (Hochbruck and Ostermann 2010, eq. 2.3), which are exact for f affine in u.
    """

    base: Smoothed
    source: Callable = eqx.field(static=True)

    @staticmethod
    def of(problem: ParabolicPDE, base: Smoothed) -> "Flowed":
        assert problem.source is not None
        return Flowed(base, problem.source)

    def value(self, t: Scalar, x: Point) -> Scalar:
        y, dt = self.base.value(t, x), (self.base.horizon - t) / SUBSTEPS
        for _ in range(SUBSTEPS):
            f, slope = jax.value_and_grad(self.source, argnums=2)(t, x, y, jnp.zeros_like(x))
            y = y + dt * f * mean_decay(-jnp.clip(slope * dt, -STEEPEST, STEEPEST))
        return y

    def recipe(self) -> dict[str, Any]:
        return {"class": "Flowed", "base": self.base.recipe()}
