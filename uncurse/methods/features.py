"""Random features by least squares: regress what is left of S on features along on-policy paths."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..certificates import Trace
from ..statistics import Purpose, host_stream, stream
from ..surrogates import AbstractSurrogate, Features, Frame, Smoothed, with_theta
from ._base import AbstractMethod, Setting, State
from .smoothing import Smoothing

ROUNDS = 6
CHUNKS = 4          # of paths in one round
RIDGE = 1e-4        # relative to the largest eigenvalue of the normal equations' diagonal


class RandomFeatures(AbstractMethod):
    """Least-squares Monte Carlo (Longstaff and Schwartz 2001; Gobet, Lemor and Warin 2005) with S as target.

    On paths run under the current surrogate, what S still accumulates after t_k, discounted to t_k, has mean u(t_k, X_k) and the
    small variance of the certificate itself. Its difference from uhat is regressed on the features at all (t_k, X_k).
    """

    name = "features"

    def init(self, setting: Setting, base: AbstractSurrogate | None, y0: Float[np.ndarray, " n"]) -> State:
        if not isinstance(base, Smoothed):
            base = Smoothing().init(setting, None, y0).surrogate
        sample = late_points(setting, base, y0)
        frame = Frame.of(setting.problem, base, sample, host_stream(setting.seed, Purpose.frame, 1))
        features = Features.of(frame, host_stream(setting.seed, Purpose.frame, 2))
        return self.step(setting, State(features, 0, False), y0)

    def step(self, setting: Setting, state: State, y0: Float[np.ndarray, " n"]) -> State:
        surrogate = state.surrogate
        assert isinstance(surrogate, Features)
        sampler = setting.sampler
        gram = moment = None
        for chunk in range(CHUNKS):
            key = stream(setting.seed, Purpose.training, 1, state.round, chunk)
            visited = sampler.visited(surrogate, y0, key)
            g, m = _normal_equations(surrogate, visited.columns.total, visited.trace, sampler.model.horizon)
            gram = np.asarray(g, dtype=np.float64) + (0 if gram is None else gram)
            moment = np.asarray(m, dtype=np.float64) + (0 if moment is None else moment)
        assert gram is not None and moment is not None
        ridge = RIDGE * np.trace(gram) / len(gram)
        change = np.linalg.solve(gram + ridge * np.eye(len(gram)), moment)
        if not np.isfinite(change).all():
            return State(surrogate, state.round + 1, True)
        theta = surrogate.theta + jnp.asarray(change, dtype=np.float32)
        return State(with_theta(surrogate, theta), state.round + 1, state.round + 1 >= ROUNDS)


def late_points(setting: Setting, surrogate: AbstractSurrogate, y0: Float[np.ndarray, " n"]) -> Float[np.ndarray, "m d"]:
    """Where paths are at the last step: the scale of the problem."""
    key = stream(setting.seed, Purpose.training, 0)
    visited = setting.sampler.visited(surrogate, y0, key)
    return np.asarray(visited.trace.x[-1])[:2048]


@eqx.filter_jit
def _normal_equations(surrogate: Features, total: Array, trace: Trace, horizon: float) -> tuple[Array, Array]:
    """Sums of psi psi^T and psi (target - uhat) / spread over all steps and paths."""
    steps = trace.y.shape[0]
    n = surrogate.theta.shape[0]

    def body(sums: tuple[Array, Array], inputs: tuple) -> tuple[tuple[Array, Array], None]:
        t, x, before, log_gamma = inputs
        psi, g = jax.vmap(surrogate.features, in_axes=(None, 0))(t, x)
        target = (total - before) * jnp.exp(-log_gamma)
        rest = (target - g) / surrogate.frame.spread - psi @ surrogate.theta
        return (sums[0] + psi.T @ psi, sums[1] + psi.T @ rest), None

    times = jnp.arange(steps, dtype=total.dtype) * (horizon / steps)
    inputs = (times, trace.x, trace.total, trace.log_gamma)
    return jax.lax.scan(body, (jnp.zeros((n, n)), jnp.zeros(n)), inputs)[0]
