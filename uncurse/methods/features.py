"""Random features by least squares: regress what is left of S on features along on-policy paths."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._devices import single
from ..certificates import Model, Scheme, Trace, Visit, probe_of
from ..statistics import Purpose, host_stream, stream
from ..surrogates import AbstractSurrogate, Features, Flowed, Frame, Smoothed, with_theta
from ..surrogates._base import finite
from ._base import AbstractMethod, Setting, State
from .smoothing import Smoothing

ROUNDS = 6
VISITS = 160_000    # points (t, X) that one round learns from, about
RIDGE = 1e-4        # relative to the diagonal of the normal equations
VALUE = 0.1         # weight of the fit of values, beside the variance of S: it settles what gradients leave open


class RandomFeatures(AbstractMethod):
    """Least squares on what is certified: theta minimises the variance of S, in which the surrogate enters linearly.

    On paths run under the current surrogate, adding change . psi to it takes change . I from S, where I_j = int Gamma
    grad psi_j . Sigma dW; so S is regressed on I. To settle values, not only gradients, what S still adds after t_k,
    discounted to t_k, whose mean is u(t_k, X_k), is regressed on psi at the same time (Longstaff and Schwartz 2001;
    Gobet, Lemor and Warin 2005).
    """

    name = "features"

    def init(self, setting: Setting, base: AbstractSurrogate | None, y0: Float[np.ndarray, " n"]) -> State:
        if not isinstance(base, Smoothed | Flowed):
            base = Smoothing().init(setting, None, y0).surrogate
        sample = late_points(setting, base, y0)
        frame = Frame.of(setting.problem, base, sample, host_stream(setting.seed, Purpose.frame, 1))
        features = Features.of(frame, host_stream(setting.seed, Purpose.frame, 2))
        return self.step(setting, State(features, 0, False), y0)

    def step(self, setting: Setting, state: State, y0: Float[np.ndarray, " n"]) -> State:
        surrogate = state.surrogate
        assert isinstance(surrogate, Features)
        sampler = setting.sampler
        sums: tuple[np.ndarray, ...] | None = None
        chunks = max(VISITS // (setting.steps * sampler.block * sampler.width), 1)
        for chunk in range(chunks):
            key = stream(setting.seed, Purpose.training, 1, state.round, chunk)
            visited = sampler.visited(surrogate, y0, key, 1)
            found = _normal_equations(surrogate, sampler.model, sampler.scheme, visited.columns.total, visited.trace)
            arrays = tuple(np.asarray(a, dtype=np.float64) for a in found)
            sums = arrays if sums is None else tuple(a + b for a, b in zip(sums, arrays, strict=True))
        change = _solve(*sums)      # type: ignore[misc]
        finished = state.round + 1 >= ROUNDS or not np.isfinite(change).all()
        theta = surrogate.theta + single(np.where(np.isfinite(change), change, 0.0))
        return State(with_theta(surrogate, theta), state.round + 1, finished)


def _solve(rows: np.ndarray, gram: np.ndarray, moment: np.ndarray, mean: np.ndarray, level: np.ndarray,
           value_gram: np.ndarray, value_moment: np.ndarray) -> np.ndarray:
    """The change of theta that minimises Var(S - I . change) + VALUE mean |target - psi . change|^2, with a ridge."""
    mean, level = mean / rows, level / rows
    matrix = gram / rows - np.outer(mean, mean) + VALUE * value_gram / rows
    right = moment / rows - mean * level + VALUE * value_moment / rows
    ridge = RIDGE * np.diag(matrix) + 1e-9 * np.trace(matrix) / len(matrix)
    return np.linalg.solve(matrix + np.diag(ridge), right)


def late_points(
    setting: Setting, surrogate: AbstractSurrogate, y0: Float[np.ndarray, " n"]
) -> Float[np.ndarray, "m d"]:
    """Where paths are at the last step: the scale of the problem."""
    key = stream(setting.seed, Purpose.training, 0)
    visited = setting.sampler.visited(surrogate, y0, key)
    return np.asarray(visited.trace.x[-1])[:2048]


@eqx.filter_jit
def _normal_equations(
    surrogate: Features, model: Model, scheme: Scheme, total: Array, trace: Trace
) -> tuple[Array, ...]:
    """Sums over paths: I_j = sum_k Gamma_k grad psi_j . Sigma dW_k against S, and psi against what S still adds."""
    steps, paths = trace.y.shape
    n, process = surrogate.theta.shape[0], model.process
    scale = surrogate.frame.spread
    probe = probe_of(process, scheme, process.dim)

    def one(t: Array, x: Array, visit: Visit) -> tuple[Array, Array, Array]:
        def along(y: Array) -> tuple[Array, Array]:
            return surrogate.features(t, process.move(x, y))

        def second(v: Array) -> Array:
            """Second derivatives of the features along v."""
            def first(e: Array) -> Array:
                return jax.jvp(lambda y: along(y)[0], (e * v,), (v,))[1]

            return jax.jvp(first, (jnp.zeros_like(t),), (jnp.ones_like(t),))[1]

        (psi, g), (change, _) = jax.jvp(along, (jnp.zeros_like(x),), (visit.dy,))
        if visit.line.size:
            side = process.spread(t, x, probe) if scheme.strength else probe
            change = change + visit.bend * second(visit.line) + visit.spin * second(side)
        return psi, g, finite(change)

    def body(carry: tuple, inputs: tuple) -> tuple[tuple, None]:
        integral, value_gram, value_moment = carry
        t, x, visit, before, log_gamma = inputs
        psi, g, change = jax.vmap(one, in_axes=(None, 0, 0))(t, x, visit)
        rest = ((total - before) * jnp.exp(-log_gamma) - g) / scale - psi @ surrogate.theta
        integral = integral + jnp.exp(log_gamma)[:, None] * change
        return (integral, value_gram + psi.T @ psi / steps, value_moment + psi.T @ rest / steps), None

    times = jnp.asarray(model.horizon * scheme.grid[:-1], total.dtype)
    zero = (jnp.zeros((paths, n)), jnp.zeros((n, n)), jnp.zeros(n))
    (integral, *value), _ = jax.lax.scan(body, zero, (times, trace.x, trace.visit, trace.total, trace.log_gamma))
    s = (total - trace.y[0]) / scale        # about y0 of each path's own point: u at other points is not noise
    return jnp.asarray(float(paths)), integral.T @ integral, integral.T @ s, integral.sum(0), s.sum(), *value
