"""Random features on pooled scalars: linear in their coefficients, so that they are found by least squares."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._devices import single
from ..problems import ParabolicPDE
from ._base import AbstractSurrogate, Point, Scalar
from ._frame import Frame

COUNT = 128


class Features(AbstractSurrogate):
    """uhat(t, x) = G(t, x) + s sum_j theta_j psi_j(t, x), psi = (1, r, tanh(W r + b), tanh(V x~ + c t)).

    r are the pooled scalars. W, V, b, c are random and stay (Rahimi and Recht 2007); theta is found by least squares.
    """

    frame: Frame
    inner: Float[Array, "m r"]
    offset: Float[Array, " m"]
    dense: Float[Array, "p d"]
    tempo: Float[Array, " p"]
    theta: Float[Array, " n"]

    @staticmethod
    def of(frame: Frame, rng: np.random.Generator, count: int = COUNT) -> "Features":
        d, r = frame.centre.shape[0], frame.width
        p = count // 4
        arrays = (
            _sparse(rng, count, r), rng.uniform(-2, 2, count),
            rng.standard_normal((p, d)) / np.sqrt(d), rng.standard_normal(p), np.zeros(1 + r + count + p),
        )
        return Features(frame, *(single(a) for a in arrays))

    @property
    def dim(self) -> int:
        return self.frame.centre.shape[0]

    def features(self, t: Scalar, x: Point) -> tuple[Float[Array, " n"], Scalar]:
        """psi(t, x), and G(t, x)."""
        r, g = self.frame.pooled(t, x)
        y = self.frame.coordinates(x)
        waves = jnp.tanh(self.dense @ y + self.tempo * (t / self.frame.horizon))
        return jnp.concatenate([jnp.ones(1, dtype=r.dtype), r, jnp.tanh(self.inner @ r + self.offset), waves]), g

    def value(self, t: Scalar, x: Point) -> Scalar:
        psi, g = self.features(t, x)
        return g + self.frame.spread * (psi @ self.theta)

    def recipe(self) -> dict[str, Any]:
        return {
            "class": "Features", "count": self.offset.shape[0], "symmetric": self.frame.symmetric,
            "base": self.frame.base.recipe(),
        }

    @staticmethod
    def skeleton(problem: ParabolicPDE, base: AbstractSurrogate, recipe: dict[str, Any]) -> "Features":
        return Features.of(Frame.skeleton(problem, base, recipe), np.random.default_rng(0), int(recipe["count"]))


def with_theta(surrogate: Features, theta: Float[Array, " n"]) -> Features:
    return eqx.tree_at(lambda s: s.theta, surrogate, theta)


def _sparse(rng: np.random.Generator, count: int, r: int) -> Float[np.ndarray, "count r"]:
    """Directions in the space of pooled scalars, time with one or two others: most functions need few at a time."""
    weights = np.zeros((count, r))
    weights[:, 0] = rng.standard_normal(count)
    for row in weights:
        others = rng.choice(np.arange(1, r), size=min(int(rng.integers(1, 3)), r - 1), replace=False)
        row[others] = rng.standard_normal(len(others))
    return weights * rng.choice([0.3, 1.0, 3.0], (count, 1))
