"""Small quadratic problems: the least value within a box, and the nearest convex matrices."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


def nearest_convex(matrices: Float[np.ndarray, "n k k"]) -> Float[np.ndarray, "n k k"]:
    """The nearest symmetric matrices without negative eigenvalues; what is diagonal in all of them is left out."""
    n, k, _ = matrices.shape
    inside = matrices != 0.0
    inside[:, range(k), range(k)] = False
    coupled = np.flatnonzero(inside.any(axis=(0, 1)) | inside.any(axis=(0, 2)))
    result = np.zeros_like(matrices)
    result[:, range(k), range(k)] = np.maximum(matrices[:, range(k), range(k)], 0.0)
    size = min(-(-len(coupled) // 32) * 32, k)      # few sizes, so that few are compiled
    if size:
        block = np.zeros((n, size, size))
        within = np.ix_(np.arange(n), coupled, coupled)
        block[:, : len(coupled), : len(coupled)] = matrices[within]
        with jax.enable_x64(True):
            result[within] = np.asarray(_nearest(block))[:, : len(coupled), : len(coupled)]
    return result


@jax.jit
def _nearest(matrices: Float[Array, "n k k"]) -> Float[Array, "n k k"]:
    """`nearest_convex` by eigenvectors, where a factorisation fails."""

    def nearest(a: Array) -> Array:
        values, vectors = jnp.linalg.eigh(0.5 * (a + a.T))
        return (vectors * jnp.maximum(values, 0.0)) @ vectors.T

    def one(a: Array) -> Array:
        shifted = a + 1e-9 * jnp.max(jnp.abs(a)) * jnp.eye(len(a), dtype=a.dtype)
        return jax.lax.cond(jnp.isfinite(jnp.linalg.cholesky(shifted)).all(), lambda a: a, nearest, a)

    return jax.lax.map(one, matrices)


def box_newton(
    H: Float[Array, "m m"], g: Float[Array, " m"], cross: Float[Array, "m d"], low: Float[Array, " m"],
    high: Float[Array, " m"],
) -> tuple[Float[Array, " m"], Float[Array, "m d"], Array]:
    """argmin of a.H a / 2 + g.a over low <= a <= high, -H^-1 cross over what is free, and whether H > 0 there."""
    m = g.shape[0]
    lengths = jnp.asarray(0.5 ** np.arange(8), dtype=g.dtype)

    def factor(held: Array) -> Array:
        """Cholesky factor over the free directions."""
        free = ~held
        return jnp.linalg.cholesky(jnp.where(free[:, None] & free[None, :], H, 0.0) + jnp.diag(held.astype(g.dtype)))

    def held_at(a: Array) -> Array:
        slope = g + H @ a
        return ((a <= low) & (slope > 0)) | ((a >= high) & (slope < 0))

    def body(_: int, a: Array) -> Array:
        held = held_at(a)
        step = -jax.scipy.linalg.cho_solve((factor(held), True), jnp.where(held, 0.0, g + H @ a))
        tried = jnp.clip(a + lengths[:, None] * step, low, high)
        worth = 0.5 * jnp.einsum("si,ij,sj->s", tried, H, tried) + tried @ g
        worth = jnp.where(jnp.isfinite(worth), worth, jnp.inf)
        return tried[jnp.argmin(worth)]

    a = jax.lax.fori_loop(0, 6, body, jnp.clip(jnp.zeros(m, g.dtype), low, high))
    held = held_at(a)
    L = factor(held)
    gains = -jax.scipy.linalg.cho_solve((L, True), jnp.where(held[:, None], 0.0, cross))
    return a, gains, jnp.isfinite(L).all()
