"""A trained policy: a network added to feedback, then kept within the bounds."""

import itertools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int

from .._devices import single
from ..problems import ControlProblem
from ._base import Point, Scalar
from ._feedback import Feedback
from ._policy import AbstractPolicy

WIDTH, LOCAL = 64, 32       # of the hidden layers
MARKS, SUMMARY = 4, 8       # numbers that tell a control from others, and that sum up all states

Layers = tuple[tuple[Array, Array], ...]


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
    """a = kept(feedback(t, x) + scale (net(t, y, b) + local_i), with y = (x - centre) / spread, b = tanh(feedback /
    scale).

    Where each control moves states of its own, one small network serves all controls: local_i = f(t, own y, b_i, a few
    numbers of control i, a summary of all states by the large network). Many alike units share what they learn that
    way, and the numbers tell them apart where they differ. Last layers start at zero, so training starts from the
    feedback.
    """

    base: Feedback          # without bounds
    centre: Float[Array, " d"]
    spread: Float[Array, " d"]
    scale: Float[Array, " m"]
    low: Float[Array, " m"]
    high: Float[Array, " m"]
    horizon: Float[Array, ""]
    own: Int[Array, "m q"]          # states of each control; q = 0 where none are
    net: Layers
    local: Layers
    marks: Float[Array, "m marks"]
    summary: Float[Array, "width summary"]

    @staticmethod
    def of(
        base: Feedback, centre: ArrayLike, spread: ArrayLike, scale: ArrayLike, horizon: float,
        own: Int[np.ndarray, "m q"], rng: np.random.Generator,
    ) -> "Trained":
        d, m = base.gains.shape[2], base.gains.shape[1]
        free = eqx.tree_at(lambda b: (b.low, b.high), base, (single(np.full(m, -np.inf)), single(np.full(m, np.inf))))
        return Trained(
            free, single(centre), single(spread), single(scale), base.low, base.high, single(horizon),
            jnp.asarray(own, dtype=np.int32), _layers(rng, 1 + d + m, WIDTH, m),
            _layers(rng, 2 + own.shape[1] + MARKS + SUMMARY, LOCAL, 1), single(0.5 * rng.standard_normal((m, MARKS))),
            single(rng.standard_normal((WIDTH, SUMMARY)) / np.sqrt(WIDTH)),
        )

    @staticmethod
    def skeleton(problem: ControlProblem, recipe: dict[str, Any]) -> "Trained":
        d, m = problem.dim, problem.control_dim
        base, own = Feedback.skeleton(problem, recipe["base"]), np.zeros((m, int(recipe["own"])), dtype=int)
        return Trained.of(base, np.zeros(d), np.ones(d), np.ones(m), problem.horizon, own, np.random.default_rng(0))

    @property
    def dim(self) -> int:
        return self.base.dim

    @property
    def parameters(self) -> tuple:
        """What is trained."""
        return self.net, self.local, self.marks, self.summary

    def control(self, t: Scalar, x: Point) -> Float[Array, " m"]:
        return kept(self.wanted(t, x), self.low, self.high)

    def wanted(self, t: Scalar, x: Point) -> Float[Array, " m"]:
        first, time = self.base.control(t, x), (t / self.horizon)[None]
        y, b = (x - self.centre) / self.spread, jnp.tanh(first / self.scale)
        hidden = _hidden(self.net, jnp.concatenate([time, y, b]))
        change = hidden @ self.net[-1][0] + self.net[-1][1]
        if self.own.shape[1]:
            common = jnp.concatenate([time, hidden @ self.summary])
            everywhere = jnp.broadcast_to(common, (len(b), len(common)))
            each = jnp.concatenate([everywhere, b[:, None], y[self.own], self.marks], axis=1)
            change = change + (_hidden(self.local, each) @ self.local[-1][0] + self.local[-1][1])[:, 0]
        return first + self.scale * change

    def recipe(self) -> dict[str, Any]:
        return {"class": "Trained", "base": self.base.recipe(), "own": self.own.shape[1]}


def _layers(rng: np.random.Generator, inputs: int, width: int, outputs: int) -> Layers:
    sizes = [inputs, width, width, outputs]
    draw = [rng.standard_normal((i, o)) / np.sqrt(i) for i, o in itertools.pairwise(sizes)]
    draw[-1] = np.zeros_like(draw[-1])
    return tuple((single(w), single(np.zeros(w.shape[1]))) for w in draw)


def _hidden(layers: Layers, y: Float[Array, "*n i"]) -> Float[Array, "*n o"]:
    for w, b in layers[:-1]:
        y = jax.nn.silu(y @ w + b)
    return y
