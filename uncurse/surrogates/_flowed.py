"""A closed form for f(t, x, u): the smoothed terminal value, carried along the ordinary differential equation of f."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax.numpy as jnp

from ..problems import ParabolicPDE
from ._base import AbstractSurrogate, Point, Scalar
from ._smoothed import Smoothed


class Flowed(AbstractSurrogate):
    """uhat(t, x) = y(T - t), with y' = f(t, x, y, 0), y(0) = G(t, x): the equation split into heat and reaction.

    The flow takes one step of the midpoint rule: it is meant for |df/du| T of order one, where more would cost more to
    compile than it brings. What is left is the commutator of heat and reaction.
    """

    base: Smoothed
    source: Callable = eqx.field(static=True)

    @staticmethod
    def of(problem: ParabolicPDE, base: Smoothed) -> "Flowed":
        assert problem.source is not None
        return Flowed(base, problem.source)

    @property
    def dim(self) -> int:
        return self.base.dim

    def value(self, t: Scalar, x: Point) -> Scalar:
        y, left, zero = self.base.value(t, x), self.base.horizon - t, jnp.zeros_like(x)
        return y + left * self.source(t, x, y + left / 2 * self.source(t, x, y, zero), zero)

    def recipe(self) -> dict[str, Any]:
        return {"class": "Flowed", "base": self.base.recipe()}
