"""The one simulation behind every certificate: paths, and the linearised functional S along them.

Notation. X has generator L. On each step [t_k, t_k + h) the surrogate's gradient p, the slopes c = f_u and b = f_grad
at (t_k, X_k, yhat_k, p) are frozen in the chart of the process, and X runs under the extra drift b (a change of
measure from which the noise dW is again Brownian). Then, with Gamma = exp(int c ds), for any adapted yhat, zhat,

    Y_0 = E[S] + E int Gamma q ds,      q = f(Y, Z) - f(yhat, zhat) - c (Y - yhat) - beta . (Z - zhat),
    S   = Gamma_T g(X_T) + int Gamma (f(s, X, yhat, zhat) - c yhat - beta . zhat) ds - int Gamma zhat . dW.

The time integral is sampled at one uniform random time a step, so E[S] has no time-discretisation bias where X is
sampled exactly (E, Hutzenthaler, Jentzen and Kruse 2019 use random times so, in multilevel Picard). For f affine with
constant slopes q = 0; every other certificate is a bound of E int Gamma q ds.

Where f is affine in the gradient, zhat follows the noise inside a step: zhat_s = Sigma^T q_s, with q_s expanded about
its start by a Hessian a I + b n n^T, n = q / |q|, how both change along n, and the drift that the equation prescribes
(see `_expansion.py`). Symmetric terms have Ito integrals in closed form, and another zhat is as good as any.
"""

from collections.abc import Callable
from functools import partial
from typing import Generic, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt32

from .._devices import single
from ..processes import AbstractProcess, mean_decay
from ..statistics import normal, uniform
from ..surrogates import AbstractSurrogate
from ._bending import Bending
from ._expansion import expand, gradient_after, gradient_drift, martingale, seen
from ._model import Model
from ._scheme import Scheme
from ._twist import feedback, twisted

Scalar = Float[Array, ""]
Point = Float[Array, " d"]

Entry = TypeVar("Entry")
Draws = TypeVar("Draws")


class Columns(NamedTuple, Generic[Entry]):
    """What each path leaves behind: (paths,) on the device, (n, paths) in NumPy once sorted by starting point."""

    total: Entry             # S
    frozen: Entry            # S with (yhat, zhat) frozen over each step too: the functional of a policy
    mismatch: Entry          # g(X_T) - yhat_T
    mismatch2: Entry         # its square
    log_gamma: Entry         # log Gamma_T
    residual2: Entry         # int |f(s, X, yhat, zhat) - its linearisation at the start of the step|^2 ds
    slope_u2: Entry          # int |c_s - c_k|^2 ds along (X, yhat, zhat)
    slope_z2: Entry          # int |beta_s - beta_k|^2 ds along (X, yhat, zhat)
    slope_x2: Entry          # the same two, for (t, X) moving and (yhat, zhat) frozen: 0 if slopes ignore the point
    lagged: Entry            # Gamma_T A w: what slopes at both ends of each step, not the first alone, would add to S
    swing: Entry             # Gamma_T A int (c_s - c_k) ds
    sway: Entry              # |A| int |c_s - c_k| (T - s) ds
    residual: Entry          # int |f(s, X, yhat, zhat) - its linearisation at the start of the step| ds
    bent: Entry              # 0 without `Model.bending`: int of what it bounds, for errors of size exp(L+ (T - s)) |A|
    payoff: Entry            # Gamma_T g(X_T)
    source2: Entry           # int |Gamma (f(s, X, yhat, zhat) - c yhat - beta . zhat)|^2 ds


class Visit(NamedTuple):
    """How S depends on the surrogate over a step, with the path fixed: S falls by grad . dy, and where steps look at
    second derivatives, by bend times that along `line` and spin times that along the probe, too."""

    q: Float[Array, "... d"]        # the surrogate's gradient in the chart
    dy: Float[Array, "... d"]       # Sigma dW over the step, in the chart
    line: Float[Array, "... d"]     # no entries where steps look at gradients alone
    bend: Float[Array, "..."]
    spin: Float[Array, "..."]


class Trace(NamedTuple):
    """Paths at the start of each step."""

    x: Float[Array, "steps paths d"]
    y: Float[Array, "steps paths"]
    visit: Visit
    total: Float[Array, "steps paths"]      # the part of S accumulated so far
    log_gamma: Float[Array, "steps paths"]


class Noise(NamedTuple):
    """Standard normals of the two halves of a step, and where the step is cut: for one step, or with steps in front."""

    first: Float[Array, "... paths normals"]
    second: Float[Array, "... paths normals"]
    cut: Float[Array, "... paths"]
    area: Float[Array, "... paths two"]     # for the time integrals of the martingale over the two halves
    coin: Float[Array, "... paths"]         # uniform: whose cut survives when two steps become one


def words(process: AbstractProcess, scheme: Scheme, directions: int = 0) -> int:
    """Random words that a path takes a step, with those of its twin along some directions."""
    return 2 * (process.normals + directions) + 4 if scheme.random_time else process.normals + directions


def read_noise(process: AbstractProcess, scheme: Scheme, bits: UInt32[Array, "... paths words"]) -> Noise:
    k, bits = process.normals, bits[..., : words(process, scheme)]
    if not scheme.random_time:
        one, empty = jnp.ones(bits.shape[:-1]), jnp.zeros((*bits.shape[:-1], 0))
        return Noise(normal(bits), empty, one, empty, one)
    z, u = normal(bits[..., : 2 * k + 2]), uniform(bits[..., 2 * k + 2 :])
    return Noise(z[..., :k], z[..., k : 2 * k], u[..., 0], z[..., 2 * k :], u[..., 1])


def twin(
    process: AbstractProcess, scheme: Scheme, bits: UInt32[Array, "paths words"], directions: Float[Array, "k m"]
) -> Noise:
    """The same noise, but for fresh one along some orthonormal directions."""
    noise, fresh = read_noise(process, scheme, bits), normal(bits[..., words(process, scheme) :])

    def exchange(xi: Float[Array, "paths normals"], new: Float[Array, "paths k"]) -> Float[Array, "paths normals"]:
        return xi + (new - xi @ directions.T) @ directions if xi.shape[-1] else xi

    k = len(directions)
    return noise._replace(first=exchange(noise.first, fresh[..., :k]), second=exchange(noise.second, fresh[..., k:]))


def probe_of(process: AbstractProcess, scheme: Scheme, dim: int) -> Float[Array, " d"]:
    """Signs at random, for Hutchinson's estimate of a trace: over the noise where steps are twisted, else the chart."""
    size = process.noise_dim if scheme.strength else dim
    return single(np.random.default_rng(0).choice([-1.0, 1.0], size))


def simulate(
    model: Model,
    surrogate: AbstractSurrogate,
    scheme: Scheme,
    starts: Float[Array, "paths d"],
    y0: Float[Array, " paths"],
    draws: Draws,
    read: Callable[[Draws], Noise],
    keep: bool = False,
) -> tuple[Columns[Float[Array, " paths"]], Trace | None]:
    """Run the paths from `starts` with yhat_0 = y0; return their columns, and their history if it is to be kept.

    draws: arrays with steps in front, of which `read` makes the noise of one step: normals take memory for one step.
    """
    paths = starts.shape[0]
    zero = jnp.zeros(paths, dtype=starts.dtype)
    probe = probe_of(model.process, scheme, starts.shape[1])
    state = _State(
        x=starts, y=y0.astype(starts.dtype), log_gamma=zero, total=zero, frozen=zero, residual2=zero,
        slope_u2=zero, slope_z2=zero, slope_x2=zero, c=zero, tilt=jnp.zeros_like(starts), lag=zero,
        swing=zero, sway=zero, residual=zero, source2=zero,
    )
    step = jax.vmap(partial(_step, model, surrogate, scheme, probe), in_axes=(None, None, 0, 0))

    def body(state: _State, inputs: tuple[Array, Array, Draws]) -> tuple[_State, tuple[Trace | None, Array | None]]:
        after, visit, inside = step(*inputs[:2], state, read(inputs[2]))
        return after, (Trace(state.x, state.y, visit, state.total, state.log_gamma) if keep else None, inside)

    times, lengths = (jnp.asarray(model.horizon * a, starts.dtype) for a in (scheme.grid[:-1], scheme.shares))
    end, (visited, inside) = jax.lax.scan(body, state, (times, lengths, draws))
    g = jax.vmap(model.terminal)(end.x)
    mismatch = g - end.y
    gamma = jnp.exp(end.log_gamma)
    payoff, bent = gamma * g, zero
    if model.bending is not None and inside is not None:
        bent = _bent(model.bending, model.horizon, lengths, inside, jnp.abs(mismatch))
    return Columns(
        end.total + payoff, end.frozen + payoff, mismatch, mismatch**2, end.log_gamma,
        end.residual2, end.slope_u2, end.slope_z2, end.slope_x2, gamma * mismatch * end.lag,
        gamma * mismatch * end.swing, jnp.abs(mismatch) * end.sway, end.residual,
        bent, payoff, end.source2,
    ), visited


def _bent(
    bending: Bending, horizon: float, lengths: Float[Array, " steps"], inside: Float[Array, "steps paths two"],
    mismatch: Float[Array, " paths"],
) -> Float[Array, " paths"]:
    """The integral over time of what f leaves out for errors that A bounds, at one random time and yhat a step."""
    t, y = inside[..., 0], inside[..., 1]
    left = bending.remainder(y, jnp.exp(bending.growth * (horizon - t)) * mismatch)
    return jnp.einsum("k,kp->p", lengths, left)


class _State(NamedTuple):
    x: Point
    y: Scalar               # yhat, run forward
    log_gamma: Scalar
    total: Scalar
    frozen: Scalar
    residual2: Scalar
    slope_u2: Scalar
    slope_z2: Scalar
    slope_x2: Scalar
    c: Scalar               # slopes of the step before
    tilt: Point
    lag: Scalar             # w = sum of h/2 (c_k - c_{k-1}) + 1/2 (beta_k - beta_{k-1}) . dW_k
    swing: Scalar           # int (c_s - c_k) ds
    sway: Scalar            # int |c_s - c_k| (T - s) ds
    residual: Scalar
    source2: Scalar         # int |Gamma (f - c yhat - beta . zhat)|^2 ds


def _step(
    model: Model, surrogate: AbstractSurrogate, scheme: Scheme, probe: Point, t: Scalar, h: Scalar,
    state: _State, noise: Noise,
) -> tuple[_State, Visit, Float[Array, " two"] | None]:
    """The state after a step, how S depends on the surrogate there, and the random time with yhat at it, where
    `Model.bending` asks for that."""
    if scheme.strength:
        return _twisted_step(model, surrogate, scheme, probe, t, h, state, noise)
    process, f = model.process, model.source
    first, second, cut, area, _ = noise
    x, y = state.x, state.y
    if scheme.second_order:
        q, expansion = expand(process, surrogate, probe, t, h, x)
    else:
        q, expansion = process.pull(x, surrogate.gradient(t, x)), None
    p = process.gradient(x, q)
    f0, (f_x, c, b) = jax.value_and_grad(f, argnums=(1, 2, 3))(t, x, y, p)
    tilt = process.tilt(x, b)
    drift0 = f0 - tilt @ q
    gamma = jnp.exp(state.log_gamma)
    watched, inside = state, None

    x1, dw1 = process.step(t, x, cut * h, first, tilt)
    if expansion is not None:
        expansion = expansion._replace(drift=gradient_drift(process, t, x, q, f_x))
    dw, dy = dw1, process.spread(t, x, dw1)
    decay = jnp.clip(c, -1 / h, 1 / h)      # of q, H and T: over a long step they would leave all bounds
    m1, discounted1 = martingale(process, expansion, t, x, q, decay, jnp.zeros_like(x), dy, cut * h)
    if scheme.random_time:
        before, after = cut * h, (1 - cut) * h
        t1 = t + before
        x2, dw2 = process.step(t1, x1, after, second, tilt)
        later = None if expansion is None else expansion.faded(jnp.exp(-decay * before))
        q1, dy2 = gradient_after(process, expansion, t, x, q, decay, dy, before), process.spread(t1, x1, dw2)
        m2, discounted2 = martingale(process, later, t1, x1, q1, decay, dy, dy2, after)
        dw, dy = dw1 + dw2, dy + dy2
        # yhat solves the linearised equation inside the step; its time integrals of m are Gaussian given m.
        bridge = jnp.sqrt(jnp.sum(process.noise(t, x, q) ** 2) / 12) * area
        integral1 = before * m1 / 2 + before**1.5 * bridge[0]
        integral2 = after * (m1 + m2 / 2) + after**1.5 * bridge[1]
        y1 = y - drift0 * before * mean_decay(c * before) + m1 - c * integral1
        p1 = process.gradient(x1, q1)
        gamma1 = gamma * jnp.exp(c * before)
        slopes = jax.value_and_grad(f, argnums=(2, 3))
        drift1, slopes1 = slopes(t1, x1, y1, p1)
        drift1 = drift1 - tilt @ q1
        rest = drift1 - drift0 - c * (y1 - y)
        y2 = y - drift0 * h * mean_decay(c * h) + m1 + m2 - c * (integral1 + integral2) - rest * h
        noise_part = gamma * discounted1 + gamma1 * discounted2
        # what f leaves beside c yhat: as at the start of the step, discounted exactly, plus the rest at the random time
        steady = gamma * mean_decay(-c * h) * (drift0 - c * y)
        source = steady + gamma1 * rest
        total = h * source - noise_part
        drift1_frozen, slopes1_frozen = slopes(t1, x1, y, process.gradient(x1, q))
        frozen = h * (steady + gamma1 * (drift1_frozen - tilt @ q - drift0)) - noise_part
        if scheme.track:
            along = _slope_change(process, scheme, t1, x1, slopes1, c, tilt)
            beside = _slope_change(process, scheme, t1, x1, slopes1_frozen, c, tilt)
            watched = _watched(state, h, along, beside, rest, model.horizon - t1)
            if model.bending is not None:
                inside = jnp.stack([t1, y1])
    else:
        # f depends on the gradient alone, whose chart value is frozen: the integral over the step is exact.
        x2, y2 = x1, y - drift0 * h + m1
        source = drift0
        total = frozen = h * source - m1
        rest = jnp.zeros_like(y)
    log_gamma = state.log_gamma + c * h
    lag = state.lag + jnp.where(t > 0, h / 2, 0.0) * (c - state.c)
    if scheme.tilted:       # else nothing to whiten, which is dear where sigma is a matrix that varies
        lag = lag + jnp.where(t > 0, 0.5, 0.0) * process.whiten(t, x, tilt - state.tilt) @ dw
    end = watched._replace(
        x=x2, y=y2, log_gamma=log_gamma, total=state.total + total, frozen=state.frozen + frozen, c=c, tilt=tilt,
        lag=lag, residual2=state.residual2 + h * rest**2, source2=state.source2 + h * source**2,
    )
    if expansion is None:
        return end, Visit(q, dy, jnp.zeros(0, q.dtype), jnp.zeros_like(y), jnp.zeros_like(y)), inside
    return end, Visit(q, dy, expansion.n, *seen(process, expansion, probe, t, h, x, dy)), inside


def _twisted_step(
    model: Model, surrogate: AbstractSurrogate, scheme: Scheme, probe: Point, t: Scalar, h: Scalar,
    state: _State, noise: Noise,
) -> tuple[_State, Visit, None]:
    process, x, y = model.process, state.x, state.y
    # Apart, or a GPU's compiler takes half a minute to make one kernel of both.
    found = jax.lax.optimization_barrier(feedback(process, surrogate, probe, t, x))
    f0, b = jax.value_and_grad(model.source, argnums=3)(t, x, y, process.gradient(x, found.q))
    z2 = found.z @ found.z
    tilt = process.tilt(x, b)
    constant = f0 - tilt @ found.q - scheme.strength / 2 * z2
    unchanged = tilt + scheme.strength * process.spread(t, x, found.z)      # the drift for zhat = 0
    twist = twisted(found, scheme.strength, h, noise.first)
    end, _ = process.step(t, x, h, twist.w / jnp.sqrt(h), unchanged)
    added = twist.total + h * constant
    across = twist.across / max(len(probe) - 1, 1)
    visit = Visit(found.q, process.spread(t, x, twist.martingale), process.spread(t, x, found.n),
                  twist.along - across, across)  # fmt: skip
    source2 = state.source2 + h * (constant + scheme.strength / 2 * z2) ** 2
    moved = state._replace(x=end, y=y - added, total=state.total + added, frozen=state.frozen + added, source2=source2)
    return moved, visit, None


def _slope_change(
    process: AbstractProcess, scheme: Scheme, t: Scalar, x: Point, slopes: tuple[Scalar, Point], c: Scalar, tilt: Point
) -> tuple[Scalar, Scalar]:
    """c_s - c_k and |beta_s - beta_k|^2 for the slopes (f_u, f_p) at another point of the step."""
    c1, b1 = slopes
    if not scheme.tilted:
        return c1 - c, jnp.zeros_like(c)
    beta = process.whiten(t, x, process.tilt(x, b1) - tilt)
    return c1 - c, beta @ beta


def _watched(
    state: _State, h: Scalar, along: tuple[Scalar, Scalar], beside: tuple[Scalar, Scalar], rest: Scalar, left: Scalar
) -> _State:
    """The state with what a step adds: slopes along (X, yhat, zhat), and beside it, with (yhat, zhat) frozen."""
    return state._replace(
        slope_u2=state.slope_u2 + h * along[0] ** 2, slope_z2=state.slope_z2 + h * along[1],
        slope_x2=state.slope_x2 + h * (beside[0] ** 2 + beside[1]), swing=state.swing + h * along[0],
        sway=state.sway + h * jnp.abs(along[0]) * left, residual=state.residual + h * jnp.abs(rest),
    )
