"""The policy that a gradient of the value suggests: the minimiser in the Hamilton-Jacobi-Bellman equation."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..problems import ControlProblem
from ._base import AbstractSurrogate, Point, Scalar
from ._policy import AbstractPolicy

Control = Float[Array, " m"]


class Minimiser(AbstractPolicy):
    """argmin over a in the box of running_cost(t, x, a) + drift(t, x, a) . grad uhat(t, x).

    For a drift that is affine and a running cost that is quadratic in a.
    """

    field: AbstractSurrogate
    inverse: Float[Array, "..."]            # of d2 running_cost / da2: (m,) for a diagonal, or (m, m)
    problem: ControlProblem = eqx.field(static=True)

    @property
    def dim(self) -> int:
        return self.problem.dim

    def control(self, t: Scalar, x: Point) -> Control:
        return minimiser(self.problem, self.inverse, t, x, self.field.gradient(t, x))

    def recipe(self) -> dict[str, Any]:
        return {"class": "Minimiser", "field": self.field.recipe()}


def slope_at_rest(problem: ControlProblem, t: Scalar, x: Point, grad: Point) -> Control:
    """d/da of running_cost + drift . grad, at a = 0."""
    rest = jnp.zeros(problem.control_dim, x.dtype)
    return jax.grad(lambda a: problem.running_cost(t, x, a) + problem.drift(t, x, a) @ grad)(rest)


def minimiser(problem: ControlProblem, inverse: Array, t: Scalar, x: Point, grad: Point) -> Control:
    slope = slope_at_rest(problem, t, x, grad)
    return problem.clip(-(inverse @ slope if inverse.ndim == 2 else inverse * slope))
