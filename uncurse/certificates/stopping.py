"""Theorem 7: optimal stopping between what a rule earns and what no rule can."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from .._devices import single
from .._solution import Guarantee
from ..statistics import Moments, draw_bits, shared_factors
from ..surrogates import AbstractContinuation
from ._base import Bounds, PerPath, PerPoint, stack
from ._dates import Outcome, Walk, run_dates

EARNED, BEST, GAP, LAST, STEP, PAID, FORESEEN = range(7)    # the columns


@dataclass(frozen=True)
class StoppingBounds:
    """Let h_k be what stopping at date k pays, in money of t = 0, and M a martingale with M_0 = 0. For any rule tau,

        E[h_tau - M_tau]  <=  V = sup_tau E h_tau  <=  E max_k (h_k - M_k),

    the maximum over the dates at which one may stop. Proof: E M_tau = 0 for every rule (optional stopping; the dates
    are finitely many), so the left is E h_tau for the rule that was run, and for every other rule
    E h_tau = E[h_tau - M_tau] <= E max_k (h_k - M_k) (Rogers 2002, theorem 1; Haugh and Kogan 2004, theorem 1).

    M may depend on randomness beyond that of X, as long as it is a martingale for both together and X remains Markov
    with its own law: a rule gains nothing from noise that is independent of the rest of the path. So the noise of Q_k
    (see `_dates.py`) widens the interval, and biases neither end inwards. With the true value v = V, the increments
    of M are those of V's own martingale, both sides are V on every path, and nothing scatters.

    The two means are taken over the same fresh paths. Each end is one-sided with z standard errors, so that together
    they hold V as often as z says. Where one may stop at t = 0, V is at least h_0.

    M = 0 is a martingale too: E h_tau <= V <= E max_k h_k. Where few paths carry the averages with M, these two stand
    in for them; each end is the better of its two, at a confidence that they share.

    A process that is stepped is the chain of its steps; V of the chain is bounded as above. Its distance to V of the
    diffusion is C/N + o(1/N) for N steps (Euler's scheme has weak order one), and is taken from the change of
    Q_k between N and N/2 steps, summed up to where the rule stops: a first-order perturbation of V leaves the rule
    alone. It moves the interval, and its size is the time-step part.

    Guarantee: two_sided; estimate where the process is stepped.
    """

    exact: bool
    assumptions: tuple[str, ...]

    PAYS: ClassVar[int] = PAID                      # the column of what the rule is paid, without the martingale
    ENDS: ClassVar[list[int]] = [EARNED, BEST]
    SCATTERS: ClassVar[list[int]] = [BEST, LAST]    # columns of which one varies, if the payoff does

    @staticmethod
    def of(exact: bool) -> "StoppingBounds":
        stepped = "the process is stepped: its bias is taken to halve with the step"
        return StoppingBounds(exact, () if exact else (stepped,))

    def columns(self, outcome: Outcome[PerPath]) -> Float[np.ndarray, "n paths k"]:
        earned, best, last, step, *plain = (np.asarray(a, dtype=np.float64) for a in outcome)
        return stack(earned, best, best - earned, last, step, *plain)

    def bounds(self, moments: Moments, z: float, now: PerPoint) -> Bounds:
        """The interval, where `now` is what stopping at t = 0 pays: -inf where one may not."""
        (first, second), mean, error = shared_factors(z), moments.mean, moments.error
        low = np.maximum(mean[:, EARNED] - first * error[:, EARNED], mean[:, PAID] - second * error[:, PAID])
        high = np.minimum(mean[:, BEST] + first * error[:, BEST], mean[:, FORESEEN] + second * error[:, FORESEEN])
        if self.exact:
            step = np.zeros_like(low)
        else:
            shift = mean[:, STEP]
            step = np.abs(shift) + z * error[:, STEP]
            low, high = low + shift - step, high + shift + step
        low = np.maximum(low, now)
        high = np.maximum(high, low)
        gap = mean[:, GAP] / 2
        with np.errstate(invalid="ignore"):     # an end may be infinite
            value, half = (low + high) / 2, (high - low) / 2
            sampling = np.fmax(half - gap - step, 0.0)
        middle = (mean[:, EARNED] + mean[:, BEST]) / 2
        budget = {"sampling": sampling, "duality gap": gap, "time step": step}
        guarantee = Guarantee.two_sided if self.exact else Guarantee.estimate
        return Bounds(np.where(np.isfinite(value), value, middle), low, high, budget, guarantee)


@dataclass(frozen=True)
class DateSampler:
    """Draws paths from fixed starting points, chunk by chunk, so that memory stays bounded.

    rows: paths at once, over all points.
    """

    walk: Walk
    starts: Float[np.ndarray, "n d"]
    rows: int

    @property
    def block(self) -> int:
        """Points simulated at once."""
        return min(len(self.starts), self.rows)

    @property
    def width(self) -> int:
        """Paths a point in one chunk."""
        return self.rows // self.block

    def moments(
        self, surrogate: AbstractContinuation, key: Key[Array, ""], count: int, certificate: StoppingBounds
    ) -> Iterator[Moments]:
        """Moments of the columns over at least `count` paths a point; yields after each round over the points."""
        total: Moments | None = None
        for round_ in range(-(-count // self.width)):
            parts = []
            for first in range(0, len(self.starts), self.block):
                at = np.resize(np.arange(first, min(first + self.block, len(self.starts))), self.block)
                starts = jnp.repeat(single(self.starts[at]), self.width, axis=0)
                shape = (self.walk.nodes.last, self.block * self.width, 2 * self.walk.words)
                outcome = _run(self.walk, surrogate, starts, draw_bits(key, (round_, first), shape))
                keep = min(self.block, len(self.starts) - first)
                shaped = (np.asarray(a).reshape(self.block, self.width)[:keep] for a in outcome)
                parts.append(Moments.of(certificate.columns(Outcome(*shaped))))
            whole = Moments.concatenate(parts)
            total = whole if total is None else total.merge(whole)
            yield total


def last_date_moments(
    walk: Walk, starts: Float[np.ndarray, "n d"], rows: int, key: Key[Array, ""], shifts: int
) -> Moments:
    """Moments of what stopping at the last date alone pays: of net means, one a random shift.

    The walk must have two nodes, t = 0 and the last date.
    """
    parts = []
    for i, start in enumerate(starts):
        total: Moments | None = None
        for round_ in range(-(-shifts // rows)):
            bits = draw_bits(key, (i, round_), (rows, walk.words))
            means = np.asarray(_last(walk, single(start), bits))
            part = Moments.of(means[None, :, None])
            total = part if total is None else total.merge(part)
        assert total is not None
        parts.append(total)
    return Moments.concatenate(parts)


@eqx.filter_jit
def _run(walk: Walk, surrogate: AbstractContinuation, starts: Array, bits: Array) -> Outcome[Float[Array, " paths"]]:
    return run_dates(walk, surrogate, starts, bits)


@eqx.filter_jit
def _last(walk: Walk, start: Float[Array, " d"], bits: Array) -> Float[Array, " shifts"]:
    k = jnp.asarray(0)
    one = jnp.asarray(1)
    return jax.vmap(lambda shift: walk.mean(k, start, shift, lambda x: walk.nodes.reward(one, x)))(bits)
