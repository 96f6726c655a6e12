"""A value that is quadratic in the state at each date: exact for linear-quadratic problems."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int

from .._devices import single
from ..problems import ControlProblem
from ._base import AbstractSurrogate, Point, Scalar


class Quadratic(AbstractSurrogate):
    """V(t_k, x) = x.P_k x / 2 + p_k.x + c_k at the dates t_k = k h; the nearest date counts."""

    P: Float[Array, "steps+1 d d"]
    p: Float[Array, "steps+1 d"]
    c: Float[Array, " steps+1"]
    step: float = eqx.field(static=True)

    @staticmethod
    def of(P: ArrayLike, p: ArrayLike, c: ArrayLike, step: float) -> "Quadratic":
        """From arrays in double precision; P is made symmetric."""
        P = np.asarray(P, dtype=np.float64)
        P = (P + P.swapaxes(1, 2)) / 2
        quadratic, linear, level = (single(a) for a in (P, p, c))
        return Quadratic(quadratic, linear, level, step)

    @property
    def dim(self) -> int:
        return self.p.shape[1]

    def date(self, t: Scalar) -> Int[Array, ""]:
        return jnp.clip(jnp.round(t / self.step).astype(jnp.int32), 0, self.p.shape[0] - 1)

    def value(self, t: Scalar, x: Point) -> Scalar:
        k = self.date(t)
        return x @ (self.P[k] @ x) / 2 + self.p[k] @ x + self.c[k]

    def recipe(self) -> dict[str, Any]:
        return {"class": "Quadratic"}

    @staticmethod
    def skeleton(problem: ControlProblem, recipe: dict[str, Any]) -> "Quadratic":
        n, d = problem.steps + 1, problem.dim
        return Quadratic.of(np.zeros((n, d, d)), np.zeros((n, d)), np.zeros(n), problem.step)
