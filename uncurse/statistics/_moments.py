"""Means and covariances of per-path columns, accumulated chunk by chunk in float64."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True)
class Moments:
    """Sample mean and scatter of k columns over `count` independent paths, for each of n points.

    `scatter` is the sum of (c - mean)(c - mean)^T; `fourth` the sum of (c - shift)^4 of the first column about the
    first chunk's mean, kept only for the kurtosis that warns of heavy tails. `invalid` counts paths that are not
    finite; they are never dropped silently: with any of them, means are not finite either.
    """

    count: int
    mean: Float[np.ndarray, "n k"]
    scatter: Float[np.ndarray, "n k k"]
    fourth: Float[np.ndarray, " n"]
    invalid: int

    @staticmethod
    def of(columns: Float[np.ndarray, "n paths k"]) -> "Moments":
        c = np.asarray(columns, dtype=np.float64)
        mean = c.mean(axis=1)
        centred = c - mean[:, None]
        scatter = np.einsum("npi,npj->nij", centred, centred)
        invalid = int((~np.isfinite(c).all(axis=2)).sum())
        return Moments(c.shape[1], mean, scatter, (centred[..., 0] ** 4).sum(axis=1), invalid)

    def merge(self, other: "Moments") -> "Moments":
        """The moments of both samples together (Chan, Golub and LeVeque 1983)."""
        count = self.count + other.count
        step = other.mean - self.mean
        mean = self.mean + step * (other.count / count)
        cross = np.einsum("ni,nj->nij", step, step) * (self.count * other.count / count)
        # Chunks of one design have means that differ by noise only, so the fourth moments simply add.
        fourth, invalid = self.fourth + other.fourth, self.invalid + other.invalid
        return Moments(count, mean, self.scatter + other.scatter + cross, fourth, invalid)

    @staticmethod
    def concatenate(parts: "list[Moments]") -> "Moments":
        """The moments of several groups of points that had the same number of paths."""
        return Moments(
            parts[0].count,
            np.concatenate([p.mean for p in parts]),
            np.concatenate([p.scatter for p in parts]),
            np.concatenate([p.fourth for p in parts]),
            sum(p.invalid for p in parts),
        )

    @property
    def covariance(self) -> Float[np.ndarray, "n k k"]:
        """Unbiased covariance of one path's columns."""
        return self.scatter / max(self.count - 1, 1)

    @property
    def deviation(self) -> Float[np.ndarray, "n k"]:
        """Standard deviation of one path's columns."""
        return np.sqrt(np.diagonal(self.covariance, axis1=1, axis2=2))

    @property
    def error(self) -> Float[np.ndarray, "n k"]:
        """Standard error of the means."""
        return self.deviation / np.sqrt(self.count)

    @property
    def kurtosis(self) -> Float[np.ndarray, " n"]:
        """Kurtosis of the first column; 3 for a Gaussian."""
        variance = self.scatter[:, 0, 0] / self.count
        return np.divide(self.fourth / self.count, variance**2, out=np.full_like(variance, 3.0), where=variance > 0)
