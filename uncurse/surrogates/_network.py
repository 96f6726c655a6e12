"""A small network on the pooled scalars and all coordinates, added to an earlier surrogate."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._devices import single
from ..problems import ParabolicPDE
from ._base import AbstractSurrogate, Point, Scalar
from ._frame import Frame

WIDTH = 64


class Layers(eqx.Module):
    """n(r, y) = w3 . tanh(W2 tanh(W1 (r, y) + b1) + b2): the trained part."""

    first: Float[Array, "w n"]
    offset: Float[Array, " w"]
    second: Float[Array, "w w"]
    offset2: Float[Array, " w"]
    last: Float[Array, " w"]

    def __call__(self, inputs: Float[Array, " n"]) -> Scalar:
        hidden = jnp.tanh(self.first @ inputs + self.offset)
        return self.last @ jnp.tanh(self.second @ hidden + self.offset2)


class Network(AbstractSurrogate):
    """uhat(t, x) = base(t, x) + s n(r(t, x), x~), with r the pooled scalars; n starts at 0."""

    frame: Frame
    base: AbstractSurrogate
    layers: Layers

    @staticmethod
    def of(frame: Frame, base: AbstractSurrogate, rng: np.random.Generator, width: int = WIDTH) -> "Network":
        r, d = frame.width, frame.centre.shape[0]
        pooled, coordinates = rng.standard_normal((width, r)) / 2, rng.standard_normal((width, d)) / np.sqrt(d) / 2
        first = np.concatenate([pooled, coordinates], axis=1)
        second = rng.standard_normal((width, width)) / np.sqrt(width)
        arrays = first, rng.uniform(-1, 1, width), second, np.zeros(width), np.zeros(width)
        return Network(frame, base, Layers(*(single(a) for a in arrays)))

    @property
    def dim(self) -> int:
        return self.frame.centre.shape[0]

    def value(self, t: Scalar, x: Point) -> Scalar:
        return self.base.value(t, x) + self.correction(t, x)

    def correction(self, t: Scalar, x: Point) -> Scalar:
        """What the layers add to the base."""
        r, _ = self.frame.pooled(t, x)
        return self.frame.spread * self.layers(jnp.concatenate([r, self.frame.coordinates(x)]))

    def recipe(self) -> dict[str, Any]:
        return {"class": "Network", "width": self.layers.last.shape[0], "symmetric": self.frame.symmetric,
                "frame": self.frame.base.recipe(), "base": self.base.recipe()}  # fmt: skip

    @staticmethod
    def skeleton(
        problem: ParabolicPDE, smooth: AbstractSurrogate, base: AbstractSurrogate, recipe: dict[str, Any]
    ) -> "Network":
        return Network.of(Frame.skeleton(problem, smooth, recipe), base, np.random.default_rng(0), int(recipe["width"]))


def with_layers(surrogate: Network, layers: Layers) -> Network:
    return eqx.tree_at(lambda s: s.layers, surrogate, layers)


def along(surrogate: Network, process: Any, t: Scalar, x: Point, dy: Point) -> tuple[Scalar, Scalar]:
    """The correction at (t, x), and its derivative in the chart along dy."""
    return jax.jvp(lambda y: surrogate.correction(t, process.move(x, y)), (jnp.zeros_like(x),), (dy,))
