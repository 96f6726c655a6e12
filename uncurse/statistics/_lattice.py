"""Point sets for one integral that is repeated many times, each time with its own random shift."""

import numpy as np
from jaxtyping import Float, UInt32

LATTICE = 12        # dimensions; above, low-order projections of so few points are no better than random ones


def shifted_net(points: int, dims: int, rng: np.random.Generator) -> UInt32[np.ndarray, "points dims"]:
    """Words w such that w + s, modulo 2^32, are uniform for a uniform s, each point's apart from the others'.

    In few dimensions a rank-one lattice (Cranley and Patterson 1976; components one by one, Sloan and Reztsov 2002),
    else a Latin hypercube. The mean of a function over the points is unbiased for any s drawn at random, whatever the
    points are.
    """
    if dims <= LATTICE:
        unit = np.outer(np.arange(points), _generator(points, dims)) % points / points
    else:
        columns = np.argsort(rng.random((points, dims)), axis=0)
        unit = (columns + rng.random((points, dims))) / points
    return (unit * 2.0**32).astype(np.uint64).astype(np.uint32)


def _generator(n: int, dims: int) -> Float[np.ndarray, " dims"]:
    """The generating vector that keeps the mean square error small in the space with kernel
    prod_j (1 + gamma_j B_2({x_j}) 2 pi^2), gamma_j = 1/j^2, one component after the other."""
    z, product = np.ones(dims, dtype=int), np.ones(n)
    candidates = np.array([c for c in range(1, n) if np.gcd(c, n) == 1] or [1])
    x = np.outer(candidates, np.arange(n)) % n / n
    kernel = 2 * np.pi**2 * (x**2 - x + 1 / 6)
    for j in range(dims):
        trial = product * (1 + kernel / (j + 1) ** 2)
        best = int(np.argmin(trial.mean(axis=1)))
        z[j], product = candidates[best], trial[best]
    return z
