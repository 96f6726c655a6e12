"""Whether controls only shift the noise: what theorem 8b asks of the dynamics, and how much the controls cost."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._devices import single
from ..problems import ControlProblem
from ._control import control_modulus
from ._elements import elements_in
from ._source import Bound

SLACK = 1e-5        # relative: what single precision leaves of B a that lies in the range of the volatility


@dataclass(frozen=True)
class Shift:
    """drift(t, x, a) = b(t, x) + volatility C_k a: a control a shifts the noise of step k by sqrt(h) C_k a.

    matrix: C_k; one for all steps where it does not depend on time.
    modulus: running_cost - sum_i m_i a_i^2 / 2 is convex in the controls, for every (t, x).
    """

    matrix: Float[np.ndarray, "steps q m"]
    modulus: Bound

    @property
    def priced(self) -> bool:
        """Whether every control that moves anything has a modulus: else its gradient does not tell the value's."""
        moved = np.abs(self.matrix).max(axis=(0, 1)) > 0
        return bool(moved.any() and (self.modulus.value[moved] > 0).all())      # type: ignore[index]


def find_shift(problem: ControlProblem, points: Float[np.ndarray, "n d"]) -> Shift | None:
    """C and the modulus, proved from the traces of drift and volatility; None where they are not of that form."""
    d, m = problem.dim, problem.control_dim
    x, a, v = np.ones(d, bool), np.ones(m, bool), np.zeros(m, bool)
    slope = elements_in(lambda t, x, a, v: _slope(problem, t, x, a, v), [np.asarray(False), x, a, v])
    sigma = elements_in(problem.sigma, [np.asarray(False), x, a])
    affine = elements_in(problem.drift, [np.asarray(False), ~x, a]).affine
    if not (affine.all() and slope.independent.all()):
        return None
    times = _times(problem)
    drift, noise = _both(problem, times, points[0])
    moved = np.abs(drift).max(axis=(0, 2)) > 0
    fixed = sigma.independent if sigma.independent.ndim < 2 else sigma.independent.all(axis=1)
    if not (fixed.all() if sigma.independent.ndim == 2 else np.broadcast_to(fixed, (d,))[moved].all()):
        return None
    if problem.controls_noise and not elements_in(problem.sigma, [np.asarray(False), ~x, a]).independent.all():
        return None
    matrix = _shifts(drift, noise)
    modulus = None if matrix is None else control_modulus(problem, points)
    return None if matrix is None or modulus is None else Shift(matrix, modulus)


def _slope(problem: ControlProblem, t: Array, x: Array, a: Array, v: Array) -> Array:
    """B v."""
    return jax.jvp(lambda a: problem.drift(t, x, a), (a,), (v,))[1]


def _times(problem: ControlProblem) -> Float[np.ndarray, " n"]:
    """All decision times, or one where neither B nor the volatility depends on it."""
    d, m = problem.dim, problem.control_dim
    time, x, a = np.asarray(True), np.zeros(d, bool), np.zeros(m, bool)
    slope = elements_in(lambda t, x, a, v: _slope(problem, t, x, a, v), [time, x, a, a])
    fixed = slope.independent.all() and elements_in(problem.sigma, [time, x, a]).independent.all()
    return np.arange(1 if fixed else problem.steps) * problem.step


def _both(
    problem: ControlProblem, times: Float[np.ndarray, " n"], point: Float[np.ndarray, " d"]
) -> tuple[Float[np.ndarray, "n d m"], Float[np.ndarray, "n d q"] | Float[np.ndarray, "n d"]]:
    """B and the volatility at each time."""
    x, a = single(point), jnp.zeros(problem.control_dim)

    def one(t: Array) -> tuple[Array, Array]:
        sigma = problem.sigma(t, x, a)
        wide = sigma if sigma.ndim == 2 else jnp.broadcast_to(sigma, (problem.dim,))
        return jax.jacfwd(lambda a: problem.drift(t, x, a))(a), wide

    found = jax.jit(lambda t: jax.lax.map(one, t))(single(times))
    return np.asarray(found[0], dtype=np.float64), np.asarray(found[1], dtype=np.float64)


def _shifts(
    drift: Float[np.ndarray, "n d m"], noise: Float[np.ndarray, "n d q"] | Float[np.ndarray, "n d"]
) -> Float[np.ndarray, "n q m"] | None:
    """C with volatility C = B, or None where controls reach states that have no noise of their own."""
    if noise.ndim == 3:
        matrix = np.linalg.pinv(noise, rcond=SLACK) @ drift
        left = np.abs(noise @ matrix - drift).max()
        return matrix if left <= SLACK * np.abs(drift).max() else None
    silent = noise == 0
    if (np.abs(drift).max(axis=2) * silent).any():
        return None
    return np.where(silent[..., None], 0.0, drift / np.where(silent, 1.0, noise)[..., None])
