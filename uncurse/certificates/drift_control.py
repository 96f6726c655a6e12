"""Theorem 8b: controls that shift the noise, costs of the states arbitrary; no control beats an entropic mean."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, UInt32

from .._devices import single
from .._solution import Guarantee
from ..problems import ControlProblem
from ..statistics import FEW, Moments, lognormal_kurtosis, normal
from ..surrogates import AbstractPolicy
from ._base import Bounds, PerPath, PerPoint, stack
from ._controlled import Path, Rollouts, move
from .branched import plain_or_corrected

SHARE = 0.05        # of the modulus that pays for a policy whose gradient lies outside the range of C'
BENT = 0.2          # of the modulus that a negative curvature of the value may cost
FEW_NOISES = 8      # up to which the curvature of the value is taken at each state ...
MANY_NOISES = 256   # ... and on average over states
LIMIT = 1.5         # scatter of the exponent beyond which its mean is not believed


class Shifted(eqx.Module):
    """What a path needs to know of a problem whose controls shift the noise: one entry for each step, or one for all.

    matrix: C_k, with drift = b(t, x) + volatility C_k a.
    inverse: A_k with C_k' A_k = 1, or nearly.
    modulus: m_i >= 0.
    mean_curvature: M_k where it is the same for all states; no entry where it is taken at each.
    floor: no eigenvalue of M_k is below it.
    """

    matrix: Float[Array, "steps q m"]
    inverse: Float[Array, "steps q m"]
    modulus: Float[Array, " m"]
    low: Float[Array, " m"]
    high: Float[Array, " m"]
    mean_curvature: Float[Array, "steps q q"]
    floor: float = eqx.field(static=True)

    @staticmethod
    def of(problem: ControlProblem, matrix: Float[np.ndarray, "steps q m"], modulus: Float[np.ndarray, " m"]
           ) -> "Shifted":
        """With M_k at each state where there are few noises, and no M_k yet where there are many."""
        q, m = matrix.shape[1:]
        low, high = (-np.inf, np.inf) if problem.control_bounds is None else problem.control_bounds
        box = (np.broadcast_to(np.asarray(end), (m,)) for end in (low, high))
        curvature = np.zeros((0 if q <= FEW_NOISES else 1, q, q))
        arrays = matrix, np.swapaxes(np.linalg.pinv(matrix), 1, 2), modulus, *box, curvature
        floor = -BENT * rate(matrix, modulus) / problem.step
        rounded = [single(a) for a in arrays]
        return Shifted(*rounded, floor=floor)        # type: ignore[misc]

    @property
    def rate(self) -> float:
        """kappa with kappa C'C <= (1 - SHARE) diag(m) + h C'M C, whatever M_k >= floor is."""
        return (1 - BENT) * rate(np.asarray(self.matrix, np.float64), np.asarray(self.modulus, np.float64))

    def curvature(self, problem: ControlProblem, policy: AbstractPolicy, k: Array, t: Array, x: Path
                  ) -> Float[Array, "q q"]:
        """M_k: volatility' (second derivative of the value) volatility, were the policy the best one."""
        if len(self.mean_curvature):
            return _at(self.mean_curvature, k)
        return _above(self.slope(problem, policy, k, t, x), self.floor)

    def slope(self, problem: ControlProblem, policy: AbstractPolicy, k: Array, t: Array, x: Path
              ) -> Float[Array, "q q"]:
        """(d theta / dx) volatility."""
        sigma = problem.sigma(t, x, problem.clip(policy.wanted(t, x)))
        sigma = sigma if sigma.ndim == 2 else jnp.diag(jnp.broadcast_to(sigma, x.shape))
        push = lambda v: jax.jvp(lambda x: self.noise(problem, policy, k, t, x), (x,), (v,))[1]     # noqa: E731
        found = jnp.asarray(jax.lax.map(push, sigma.T, batch_size=16)).T
        return jnp.where(jnp.isfinite(found).all(), found, 0.0)

    def push(self, k: Array, a: Float[Array, " m"]) -> Float[Array, " q"]:
        """C_k a."""
        return _at(self.matrix, k) @ a

    def noise(self, problem: ControlProblem, policy: AbstractPolicy, k: Array, t: Array, x: Path) -> Float[Array, " q"]:
        """theta_k: volatility' grad V, if the policy were the best one. From the control before it is kept in its box,
        since grad V goes on where a control is at its end."""
        slope = jax.grad(problem.running_cost, argnums=2)
        wanted = slope(t, x, policy.wanted(t, x))
        wanted = jnp.where(jnp.isfinite(wanted), wanted, slope(t, x, problem.clip(policy.wanted(t, x))))
        return -_at(self.inverse, k) @ wanted

    def shortfall(self, rho: Float[Array, " m"], a: Float[Array, " m"]) -> Array:
        """max over a' in the box of sum_i [-rho_i (a'_i - a_i) - SHARE m_i (a'_i - a_i)^2 / 2]."""
        m = SHARE * self.modulus
        free = jnp.where(m > 0, -rho / jnp.where(m > 0, m, 1.0), -jnp.sign(rho) * jnp.inf)
        free = jnp.clip(jnp.where(rho == 0, 0.0, free), jnp.minimum(self.low - a, 0.0), jnp.maximum(self.high - a, 0.0))
        return jnp.sum(jnp.where(rho == 0, 0.0, -rho * free - m * free**2 / 2))

    def reach(self, k: Array, a: Float[Array, " m"]) -> Array:
        """At least |C_k (a' - a)|^2 for every a' in the box."""
        far = jnp.maximum(a - self.low, self.high - a)
        C = _at(self.matrix, k)
        size = jnp.abs(C.T @ C)
        return jnp.sum(jnp.where(size > 0, size * far[:, None] * far[None, :], 0.0))


def shifted_path(
    problem: ControlProblem, policy: AbstractPolicy, shifted: Shifted, x0: Path, bits: UInt32[Array, "steps q"],
) -> tuple[Array, Array, Array, Array]:
    """The cost less the martingale, sum h phi_k, sum h |C_k (a' - a_k)|^2 / 2 at most, and the cost, along one path."""
    h, low, high = jnp.float32(problem.step), shifted.low, shifted.high

    def body(carry: tuple, inputs: tuple) -> tuple[tuple, None]:
        x, cost, short, reach, martingale = carry
        k, b = inputs
        t, xi = k * h, normal(b)
        a = jnp.clip(policy.control(t, x), low, high)
        theta = shifted.noise(problem, policy, k, t, x)
        rho = jax.grad(problem.running_cost, argnums=2)(t, x, a) + _at(shifted.matrix, k).T @ theta
        M = shifted.curvature(problem, policy, k, t, x)
        martingale += jnp.sqrt(h) * (theta @ xi) + h * (xi @ (M @ xi) - jnp.trace(M)) / 2
        after, *_ = move(problem, t, x, a, xi)
        cost += h * problem.running_cost(t, x, a)
        short, reach = short + h * shifted.shortfall(rho, a), reach + h * shifted.reach(k, a) / 2
        return (after, cost, short, reach, martingale), None

    zero = jnp.zeros((), x0.dtype)
    start = x0, zero, zero, zero, zero
    (end, cost, short, reach, martingale), _ = jax.lax.scan(body, start, (jnp.arange(problem.steps), bits))
    cost += problem.terminal_cost(end)
    return cost - martingale, short, reach, cost


def drawn(
    rolls: Rollouts, shifted: Shifted, key: Key[Array, ""], count: int
) -> Iterator[tuple[PerPath, PerPath, PerPath, PerPath]]:
    """What `shifted_path` finds on at least `count` fresh paths a point, in rounds."""
    along = rolls.along(key, count, lambda starts, bits: _run(rolls.problem, rolls.policy, shifted, starts, bits))
    return ((c[..., 0], c[..., 1], c[..., 2], c[..., 3]) for c in along)


@eqx.filter_jit
def _run(problem: Any, policy: Any, shifted: Shifted, starts: Float[Array, "paths d"], bits: Array
         ) -> Float[Array, "paths 4"]:
    return jax.vmap(lambda x, b: jnp.stack(shifted_path(problem, policy, shifted, x, b)), in_axes=(0, 1))(starts, bits)


def averaged(
    problem: ControlProblem, policy: AbstractPolicy, shifted: Shifted, states: Float[np.ndarray, "paths steps d"]
) -> Shifted:
    """With M_k the mean over states, where there are too many noises for one at each state."""
    if shifted.matrix.shape[1] <= FEW_NOISES or shifted.matrix.shape[1] > MANY_NOISES:
        return shifted
    found = _mean_curvature(problem, policy, shifted, single(states))
    return eqx.tree_at(lambda s: s.mean_curvature, shifted, found)


def rate(matrix: Float[np.ndarray, "steps q m"], modulus: Float[np.ndarray, " m"]) -> float:
    """The largest kappa with kappa |C_k v|^2 <= (1 - SHARE) sum_i m_i v_i^2 for all v and k; m_i > 0 where C moves."""
    moved = np.abs(matrix).max(axis=(0, 1)) > 0
    scaled = matrix[:, :, moved] / np.sqrt(modulus[moved])
    return (1 - SHARE) / float(max(np.linalg.norm(one, 2) for one in scaled)) ** 2


def _at(entries: Float[Array, "steps *shape"], k: Array) -> Float[Array, "*shape"]:
    return entries[jnp.minimum(k, len(entries) - 1)]


def _above(matrix: Float[Array, "q q"], floor: float) -> Float[Array, "q q"]:
    """Made symmetric, with no eigenvalue below the floor."""
    values, vectors = jnp.linalg.eigh((matrix + matrix.T) / 2)
    return (vectors * jnp.maximum(values, floor)) @ vectors.T


@eqx.filter_jit
def _mean_curvature(problem: Any, policy: Any, shifted: Shifted, states: Float[Array, "paths steps d"]
                    ) -> Float[Array, "steps q q"]:
    def step(k: Array) -> Array:
        def more(total: Array, x: Path) -> tuple[Array, None]:
            return total + shifted.slope(problem, policy, k, k * jnp.float32(problem.step), x), None

        q = shifted.matrix.shape[1]
        total, _ = jax.lax.scan(more, jnp.zeros((q, q), states.dtype), states[:, k])
        return _above(total / states.shape[0], shifted.floor)

    return jax.lax.map(step, jnp.arange(problem.steps))


@dataclass(frozen=True)
class DriftControl:
    """Let drift = b(t, x) + volatility C_k a, and l - sum_i m_i a_i^2 / 2 convex in the controls; nothing else is asked
    of l, b and g. For any policy pi with controls a_k, any theta_k and M_k known at k, and xi_k the noise under pi, put

        rho_k = dl/da (a_k) + C_k' theta_k,
        phi_k = max over a' in the box of sum_i [-rho_i (a'_i - a_i) - s m_i (a'_i - a_i)^2 / 2],       0 <= s < 1,
        S = sum_k h (l_k - phi_k) - sqrt(h) theta_k . xi_k - h (xi_k . M_k xi_k - tr M_k) / 2  +  g(x_N).

    With kappa such that kappa C'C <= (1 - s) diag(m) + h C'M C at every step, any kappa' >= kappa, and R_k >=
    |C_k (a' - a_k)| for every a' in the box,

        -kappa' log E exp(-[S - (kappa' - kappa) sum_k h R_k^2 / 2] / kappa')  <=  V  <=  E[S + sum_k h phi_k] = J(pi),

    all means under pi. Proof in docs/certificates.md, 8b; it is the duality of entropy and exponentials (Donsker and
    Varadhan; Boué and Dupuis 1998). If pi is the best policy, theta = volatility' grad V and V quadratic, S does not
    scatter and both ends are V.

    Args:
        centre: of S, for each point, so that exponentials stay near 1.
        rate: kappa.
        slope: kappa'.
        spread: of the exponent on pilot paths, the worst point.
    """

    centre: PerPoint
    rate: float
    slope: float
    spread: float

    @staticmethod
    def tuned(rate: float, net: PerPath, short: PerPath, reach: PerPath) -> "DriftControl | None":
        """With the kappa' that pilot paths like best: the least of Var S / (2 kappa') + kappa' E sum h R^2 / 2. None
        where exponents scatter too much for any, or nothing bounds the controls."""
        total = net - short
        if not np.isfinite(total).all():
            return None
        scatter, free = float(total.std(axis=1).max()), bool(np.isfinite(reach).all())
        slope = rate
        if free:
            room = max(float(reach.mean(axis=1).min()), 1e-30)
            slope = max(rate, scatter / np.sqrt(2 * room), scatter / LIMIT * 1.01)
        if slope <= 0 or scatter >= LIMIT * slope:
            return None
        found = DriftControl(total.mean(axis=1), rate, slope, 0.0)
        return replace(found, spread=float(found._exponents(net, short, reach).std(axis=1).max()))

    def _exponents(self, net: PerPath, short: PerPath, reach: PerPath) -> PerPath:
        allowance = (self.slope - self.rate) * reach if self.slope > self.rate else 0.0
        return -(net - short - allowance - self.centre[:, None]) / self.slope

    def columns(self, net: PerPath, short: PerPath, reach: PerPath, cost: PerPath) -> Float[np.ndarray, "n paths 3"]:
        """The policy's cost less a martingale, the exponential less 1, and the cost."""
        with np.errstate(over="ignore"):
            return stack(net, np.expm1(self._exponents(net, short, reach)), cost)

    def bounds(self, moments: Moments, z: float, floor: float, rounding: float, proved: bool) -> Bounds:
        """Both ends, each with z standard errors; `floor` is what no cost can be below, `rounding` relative."""
        mean, error = moments.mean, z * moments.error
        rounded = rounding * np.abs(mean[:, 0])
        high = plain_or_corrected(moments, z) + rounded
        if not np.isfinite(error[:, 1]).all():
            low = np.full_like(high, floor)
            budget = {"sampling": high - rounded - mean[:, 0], "policy gap": mean[:, 0] - low, "rounding": rounded}
            return Bounds(mean[:, 0], low, high, budget, Guarantee.upper_bound)
        bottom = self.centre - self.slope * np.log1p(mean[:, 1])
        low = np.maximum(self.centre - self.slope * np.log1p(mean[:, 1] + error[:, 1]) - rounded, floor)
        gap = np.maximum(mean[:, 0] - bottom, 0.0)
        high = np.maximum(high, low)
        sampling = np.maximum((high - low - gap) / 2 - rounded, 0.0)
        budget = {"sampling": sampling, "policy gap": gap / 2, "rounding": rounded}
        value = np.where(np.isfinite(high), (low + high) / 2, mean[:, 0])
        return Bounds(value, low, high, budget, Guarantee.two_sided if proved else Guarantee.estimate)

    def paths(self, pilot: Moments, z: float, tolerance: PerPoint, fewest: int) -> int:
        """Paths a point that should bring the half-width within the tolerance, or near half of the gap where the gap
        is beyond it; at least as many as an exponential of a Gaussian exponent needs, and thrice what the pilot did."""
        kurtosis = max(lognormal_kurtosis(min(self.spread, LIMIT)), 3 * float(pilot.kurtosis[:, :2].max()))
        count = max(fewest, int(FEW * kurtosis))
        for _ in range(16):
            bounds = self.bounds(pilot.scaled(count), z, -np.inf, 0.0, True)
            if (bounds.half_width <= np.maximum(0.95 * tolerance, 1.2 * bounds.budget["policy gap"])).all():
                break
            count *= 2
        return count
