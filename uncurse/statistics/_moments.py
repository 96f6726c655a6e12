"""Means and covariances of per-path columns, accumulated chunk by chunk in float64."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

# Standard errors are themselves estimates. The variance is taken at its own upper confidence limit, this many standard
# errors up (99 %), and no mean is believed that fewer than `FEW` paths' worth of variance carries.
CAUTION = 2.6
FEW = 20


@dataclass(frozen=True)
class Moments:
    """Sample mean and scatter of k columns over independent paths, `counts` of them for each of n points.

    `scatter` is the sum of (c - mean)(c - mean)^T; `third` and `fourth` are the sums of (c - mean)^3 and (c - mean)^4,
    from which heavy tails are seen. `invalid` counts paths that are not finite; they are never dropped silently: with
    any of them, means are not finite either.
    """

    counts: Int[np.ndarray, " n"]
    mean: Float[np.ndarray, "n k"]
    scatter: Float[np.ndarray, "n k k"]
    third: Float[np.ndarray, "n k"]
    fourth: Float[np.ndarray, "n k"]
    invalid: int

    @staticmethod
    def of(columns: Float[np.ndarray, "n paths k"]) -> "Moments":
        c = np.asarray(columns, dtype=np.float64)
        with np.errstate(over="ignore", invalid="ignore"):
            mean = c.mean(axis=1)
            centred = c - mean[:, None]
            squares = centred * centred         # a power takes ten times as long as a product
            scatter = np.einsum("npi,npj->nij", centred, centred)
            third, fourth = (np.einsum("npi,npi->ni", squares, other) for other in (centred, squares))
        invalid = int((~np.isfinite(c).all(axis=2)).sum())
        return Moments(np.full(c.shape[0], c.shape[1]), mean, scatter, third, fourth, invalid)

    def merge(self, other: "Moments") -> "Moments":
        """The moments of both samples together (Chan, Golub and LeVeque 1983; Pébay 2008, eq. 2.1)."""
        a, b = self._each, other._each
        n = a + b
        with np.errstate(invalid="ignore"):
            step = other.mean - self.mean
        between = np.einsum("ni,nj->nij", step, step) * (a * b / n)[..., None]
        scatter = self.scatter + other.scatter + between
        with np.errstate(over="ignore", invalid="ignore"):
            second = self._squares, other._squares
            third = self.third + other.third + step**3 * (a * b * (a - b) / n**2)
            third += 3 * step * (a * second[1] - b * second[0]) / n
            fourth = self.fourth + other.fourth + step**4 * (a * b * (a**2 - a * b + b**2) / n**3)
            fourth += 6 * step**2 * (a**2 * second[1] + b**2 * second[0]) / n**2
            fourth += 4 * step * (a * other.third - b * self.third) / n
        counts, invalid = self.counts + other.counts, self.invalid + other.invalid
        return Moments(counts, self.mean + step * (b / n), scatter, third, fourth, invalid)

    @staticmethod
    def concatenate(parts: "list[Moments]") -> "Moments":
        """The moments of several groups of points."""
        return Moments(
            np.concatenate([p.counts for p in parts]),
            np.concatenate([p.mean for p in parts]),
            np.concatenate([p.scatter for p in parts]),
            np.concatenate([p.third for p in parts]),
            np.concatenate([p.fourth for p in parts]),
            sum(p.invalid for p in parts),
        )

    def take(self, points: Int[np.ndarray, " m"]) -> "Moments":
        """Those of some of the points; `invalid` stays."""
        arrays = self.counts, self.mean, self.scatter, self.third, self.fourth
        return Moments(*(a[points] for a in arrays), invalid=self.invalid)

    def updated(self, points: Int[np.ndarray, " m"], more: "Moments") -> "Moments":
        """With more paths for some of the points."""
        whole = self.take(points).merge(more)
        names = "counts", "mean", "scatter", "third", "fourth"
        arrays = {name: getattr(self, name).copy() for name in names}
        for name, array in arrays.items():
            array[points] = getattr(whole, name)
        return Moments(**arrays, invalid=whole.invalid)

    def scaled(self, count: int) -> "Moments":
        """What `count` paths would give that scatter as these did."""
        factor = max(count - 1, 1) / np.maximum(self._each - 1, 1)
        sums = self.scatter * factor[..., None], self.third * factor, self.fourth * factor
        return Moments(np.full_like(self.counts, count), self.mean, *sums, invalid=self.invalid)

    @property
    def count(self) -> int:
        """Paths of the point that had the fewest."""
        return int(self.counts.min())

    @property
    def _each(self) -> Float[np.ndarray, "n 1"]:
        return self.counts.astype(np.float64)[:, None]

    @property
    def _squares(self) -> Float[np.ndarray, "n k"]:
        return np.diagonal(self.scatter, axis1=1, axis2=2)

    @property
    def covariance(self) -> Float[np.ndarray, "n k k"]:
        """Unbiased covariance of one path's columns."""
        return self.scatter / np.maximum(self._each - 1, 1)[..., None]

    @property
    def deviation(self) -> Float[np.ndarray, "n k"]:
        """Standard deviation of one path's columns."""
        return np.sqrt(self._squares / np.maximum(self._each - 1, 1))

    @property
    def cautious_error(self) -> Float[np.ndarray, "n k"]:
        """Standard error of the means, at its upper limit: Var(s^2) = (kurtosis - 1) s^4 / count for large samples."""
        excess = np.sqrt(np.maximum(self.kurtosis - 1, 0.0) / self._each)
        return self.deviation * np.sqrt((1 + CAUTION * excess) / self._each)

    @property
    def error(self) -> Float[np.ndarray, "n k"]:
        """The same, but infinite where a few paths carry the whole scatter: the mean is not normal there, and what the
        sample has not met may be larger than all that it has."""
        return np.where(self.heavy, np.inf, self.cautious_error)

    @property
    def heavy(self) -> Bool[np.ndarray, "n k"]:
        """Whether fewer than `FEW` paths' worth of variance carries the mean: count / kurtosis, which is the number of
        events where a rare event makes all the variance."""
        return self._each < FEW * self.kurtosis

    @property
    def kurtosis(self) -> Float[np.ndarray, "n k"]:
        """Kurtosis of each column; 3 for a Gaussian, and for a column that does not scatter."""
        variance = self._squares / self._each
        scatters = variance > 1e-30 * self.mean**2
        with np.errstate(over="ignore", invalid="ignore"):
            relative = np.sqrt(self.fourth / self._each) / np.where(scatters, variance, 1.0)
            return np.where(scatters, relative**2, 3.0)


def lognormal_kurtosis(deviation: float) -> float:
    """Kurtosis of exp(N) for a Gaussian N: what a sample must be large enough for, since a pilot misses its tail."""
    w = float(np.exp(deviation**2))
    return w**4 + 2 * w**3 + 3 * w**2 - 3
