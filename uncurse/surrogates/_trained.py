"""A trained policy: a network added to feedback, then kept within the bounds."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..problems import ControlProblem
from ._base import Point, Scalar
from ._feedback import Feedback
from ._policy import AbstractPolicy

WIDTH = 64


@jax.custom_vjp
def kept(a: Array, low: Array, high: Array) -> Array:
    """a within its bounds. Its derivative also pulls back what is outside; it never pushes further out."""
    return jnp.clip(a, low, high)


def _forward(a: Array, low: Array, high: Array) -> tuple[Array, tuple[Array, Array, Array]]:
    return jnp.clip(a, low, high), (a, low, high)


def _backward(saved: tuple[Array, Array, Array], g: Array) -> tuple[Array, None, None]:
    a, low, high = saved
    outwards = ((a > high) & (g < 0)) | ((a < low) & (g > 0))
    return jnp.where(outwards, 0.0, g), None, None


kept.defvjp(_forward, _backward)


class Trained(AbstractPolicy):
    """a = kept(feedback(t, x) + scale net(t, (x - centre) / spread, feedback / scale)), two hidden layers.

    The last layer starts at zero, so training starts from the feedback.
    """

    base: Feedback          # without bounds
    centre: Float[Array, " d"]
    spread: Float[Array, " d"]
    scale: Float[Array, " m"]
    low: Float[Array, " m"]
    high: Float[Array, " m"]
    horizon: Float[Array, ""]
    weights: tuple[Array, ...]
    biases: tuple[Array, ...]

    @staticmethod
    def of(base: Feedback, centre: Array, spread: Array, scale: Array, horizon: float, rng: np.random.Generator
           ) -> "Trained":
        d, m = base.gains.shape[2], base.gains.shape[1]
        sizes = [1 + d + m, WIDTH, WIDTH, m]
        draw = [rng.standard_normal((i, o)) / np.sqrt(i) for i, o in zip(sizes[:-1], sizes[1:], strict=True)]
        draw[-1] = np.zeros_like(draw[-1])
        single = lambda a: jnp.asarray(np.asarray(a, dtype=np.float32))      # noqa: E731
        free = eqx.tree_at(lambda b: (b.low, b.high), base, (single(np.full(m, -np.inf)), single(np.full(m, np.inf))))
        return Trained(
            free, single(centre), single(spread), single(scale), base.low, base.high, single(horizon),
            tuple(single(w) for w in draw), tuple(single(np.zeros(o)) for o in sizes[1:]),
        )

    @staticmethod
    def skeleton(problem: ControlProblem, recipe: dict[str, Any]) -> "Trained":
        d, m = problem.dim, problem.control_dim
        base = Feedback.skeleton(problem, recipe["base"])
        return Trained.of(base, np.zeros(d), np.ones(d), np.ones(m), problem.horizon, np.random.default_rng(0))

    def control(self, t: Scalar, x: Point) -> Float[Array, " m"]:
        first = self.base.control(t, x)
        y = jnp.concatenate([(t / self.horizon)[None], (x - self.centre) / self.spread, jnp.tanh(first / self.scale)])
        for w, b in zip(self.weights[:-1], self.biases[:-1], strict=True):
            y = jax.nn.silu(y @ w + b)
        return kept(first + self.scale * (y @ self.weights[-1] + self.biases[-1]), self.low, self.high)

    def recipe(self) -> dict[str, Any]:
        return {"class": "Trained", "base": self.base.recipe()}
