"""Theorem 6: processes that are stepped, with their step bias estimated from coupled coarse and fine paths."""

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from .._solution import Guarantee
from ..statistics import Moments
from ._base import AbstractCertificate, AbstractPairCertificate, Bounds, PerPath, PerPoint
from ._paths import Columns, Noise


@dataclass(frozen=True)
class Stepped(AbstractPairCertificate):
    """Euler's scheme has weak order one (Talay and Tubaro 1990): with N steps E S_N = u + C/N + o(1/N), so

        u = E S_N + E[S_N - S_{N/2}] + o(1/N).

    Both are driven by the same noise, so the difference is sampled well (Giles 2008); it corrects the value, and its
    size with its own error is the time-step part of the budget. The rest of the interval is the inner theorem's.

    Guarantee: estimate, since the order is asymptotic.
    """

    inner: AbstractCertificate

    @staticmethod
    def of(inner: AbstractCertificate) -> "Stepped":
        words = "the process is stepped: its bias is taken to halve with the step"
        return Stepped((*inner.assumptions, words), inner)

    def pair_columns(
        self, paths: Columns[PerPath], coupled: Columns[PerPath], y0: PerPoint
    ) -> Float[np.ndarray, "n paths k"]:
        fine, coarse = self.inner.columns(paths, y0), self.inner.columns(coupled, y0)
        return np.concatenate([fine, fine[..., :1] - coarse[..., :1]], axis=-1)

    def bounds(self, moments: Moments, y0: PerPoint, z: float) -> Bounds:
        inner = self.inner.bounds(moments, y0, z)
        shift = moments.mean[:, -1]
        step = np.abs(shift) + z * moments.error[:, -1]
        budget = dict(inner.budget)
        budget["time step"] = budget["time step"] + step
        low, high = inner.low + shift - step, inner.high + shift + step
        return Bounds(inner.value + shift, low, high, budget, Guarantee.estimate)


def coarsen(pair: Noise) -> Noise:
    """One step with the Brownian path of two; its random time is that of one of them."""
    first, second, cut, area, coin = pair
    if second.shape[-1] == 0:
        return Noise((first[0] + first[1]) / jnp.sqrt(2.0), second[0], cut[0], area[0], coin[0])
    before, after = jnp.sqrt(cut)[..., None] * first, jnp.sqrt(1 - cut)[..., None] * second
    late = coin[0] < 0.5
    up_to = jnp.where(late[..., None], before[0] + after[0] + before[1], before[0])
    rest = before[0] + after[0] + before[1] + after[1] - up_to
    new_cut = jnp.where(late, (1 + cut[1]) / 2, cut[0] / 2)
    scale = jnp.sqrt(2 * new_cut)[..., None], jnp.sqrt(2 * (1 - new_cut))[..., None]
    tiny = jnp.finfo(new_cut.dtype).tiny
    return Noise(up_to / (scale[0] + tiny), rest / (scale[1] + tiny), new_cut, area[0], coin[0])
