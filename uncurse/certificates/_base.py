"""What every certificate is: columns to average over paths, and a theorem that turns their means into an interval."""

import abc
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from .._solution import Guarantee
from ..statistics import Moments
from ._paths import Columns

PerPoint = Float[np.ndarray, " n"]
PerPath = Float[np.ndarray, "n paths"]


@dataclass(frozen=True)
class Bounds:
    """An interval for each point, its parts, and the strongest word that it deserves."""

    value: PerPoint
    low: PerPoint
    high: PerPoint
    budget: dict[str, PerPoint]
    guarantee: Guarantee

    @property
    def half_width(self) -> PerPoint:
        return np.maximum(self.high - self.value, self.value - self.low)

    @property
    def bias(self) -> PerPoint:
        """The part of the half-width that more samples do not shrink."""
        return self.half_width - np.where(np.isfinite(self.half_width), self.budget["sampling"], 0.0)


@dataclass(frozen=True)
class AbstractCertificate(abc.ABC):
    """A theorem with its constants fixed; it is chosen on pilot paths and applied to fresh ones."""

    assumptions: tuple[str, ...]

    @abc.abstractmethod
    def columns(self, paths: Columns[PerPath], y0: PerPoint) -> Float[np.ndarray, "n paths k"]:
        """What to average; the first column carries the value."""

    @abc.abstractmethod
    def bounds(self, moments: Moments, y0: PerPoint, z: float) -> Bounds:
        """The interval from the averages, with z standard errors for each sampled end."""

    def predict(self, pilot: Moments, y0: PerPoint, z: float, count: int) -> Bounds:
        """What `bounds` would be with `count` paths that scatter as the pilot's did."""
        return self.bounds(pilot.scaled(count), y0, z)


class AbstractPairCertificate(AbstractCertificate):
    """A certificate that averages over pairs of coupled paths."""

    def columns(self, paths: Columns[PerPath], y0: PerPoint) -> Float[np.ndarray, "n paths k"]:
        raise TypeError(f"{type(self).__name__} needs coupled paths too: call pair_columns")

    @abc.abstractmethod
    def pair_columns(
        self, paths: Columns[PerPath], coupled: Columns[PerPath], y0: PerPoint
    ) -> Float[np.ndarray, "n paths k"]:
        """What to average; the first column carries the value."""


def stack(*columns: PerPath) -> Float[np.ndarray, "n paths k"]:
    return np.stack(np.broadcast_arrays(*columns), axis=-1).astype(np.float64)


def unbounded(value: PerPoint, sampling: PerPoint) -> Bounds:
    """What a theorem returns whose assumptions were seen not to hold."""
    infinite, zero = np.full_like(value, np.inf), np.zeros_like(value)
    budget = {"sampling": sampling, "linearisation": infinite, "time step": zero}
    return Bounds(value, -infinite, infinite, budget, Guarantee.estimate)


def upper_mean(moments: Moments, k: int, z: float) -> PerPoint:
    """An upper confidence limit for the mean of a column that is never negative."""
    return np.maximum(moments.mean[:, k] + z * moments.cautious_error[:, k], 0.0)


def growth_integral(rate: float, horizon: float, power: float) -> float:
    """int_0^T exp(rate s) exp(power rate (T - s)) ds, at most, for weights that grow like exp(rate s)."""
    s = np.linspace(0.0, horizon, 257)
    values = np.exp(rate * s + power * rate * (horizon - s))
    return float(np.maximum(values[:-1], values[1:]).mean() * horizon)      # an upper sum: the integrand is monotone
