"""A network trained on what is certified: the whole-path variance of S, along its own paths."""

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple, cast

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from ..certificates import Model, Scheme, Trace
from ..statistics import Purpose, host_stream, stream
from ..surrogates import AbstractSurrogate, Features, Frame, Layers, Network, along, with_layers
from ._base import AbstractMethod, Setting, State
from .features import late_points
from .smoothing import Smoothing

if TYPE_CHECKING:
    import optax

ROUNDS = 12
ITERATIONS = 60         # Adam steps on one set of paths
BATCH = 256             # paths in one of them
RATE = 3e-3
VALUE = 0.1             # weight of the fit of values, beside the variance of S


class NetworkTraining(AbstractMethod):
    """Adam (Kingma and Ba 2015) on the variance of S.

    E, Han and Jentzen 2017 train on E A^2, Nuesken and Richter 2021 on the variance. A block simulates paths under the
    current network, then takes several steps on them. That is sound: with the paths and the linearisation held fixed, S
    depends on the network through - int Gamma grad n . Sigma dW alone, so the gradient of the variance is exact where
    the block starts, and no gradient runs through a path.
    """

    name = "network"

    def init(self, setting: Setting, base: AbstractSurrogate | None, y0: Float[np.ndarray, " n"]) -> State:
        if base is None or isinstance(base, Network):
            base = Smoothing().init(setting, None, y0).surrogate
        if isinstance(base, Features):
            frame = base.frame
        else:
            rng = host_stream(setting.seed, Purpose.frame, 1)
            frame = Frame.of(setting.problem, base, late_points(setting, base, y0), rng)
        network = Network.of(frame, base, host_stream(setting.seed, Purpose.frame, 3))
        state = State(network, 0, False, _optimiser().init(cast("optax.Params", network.layers)))
        return self.step(setting, state, y0)

    def step(self, setting: Setting, state: State, y0: Float[np.ndarray, " n"]) -> State:
        network = state.surrogate
        assert isinstance(network, Network)
        sampler = setting.sampler
        # A step that is twisted depends on second derivatives too; training knows first ones.
        sampler = replace(sampler, scheme=replace(sampler.scheme, strength=0.0))
        key = stream(setting.seed, Purpose.training, 2, state.round)
        visited = sampler.visited(network, y0, key)
        layers, optimiser = _train(
            network, sampler.model, sampler.scheme, visited.columns.total, visited.trace, state.private, key
        )
        if not all(bool(jnp.isfinite(a).all()) for a in jax.tree.leaves(layers)):
            return State(network, state.round + 1, True, state.private)
        return State(with_layers(network, layers), state.round + 1, state.round + 1 >= ROUNDS, optimiser)


class _Data(NamedTuple):
    """Paths with the network's own part taken out of S."""

    goal: Float[Array, " paths"]            # S plus the network's integral, centred, over the scale
    x: Float[Array, "steps paths d"]
    dy: Float[Array, "steps paths d"]
    gamma: Float[Array, "steps paths"]
    value: Float[Array, "steps paths"]      # what the network should be, up to noise, over the scale


def _optimiser() -> "optax.GradientTransformation":
    import optax

    return optax.adam(optax.cosine_decay_schedule(RATE, ROUNDS * ITERATIONS, alpha=0.05))


@eqx.filter_jit
def _train(
    network: Network,
    model: Model,
    scheme: Scheme,
    total: Float[Array, " paths"],
    trace: Trace,
    optimiser_state: object,
    key: Key[Array, ""],
) -> tuple[Layers, object]:
    import optax

    paths = trace.y.shape[1]
    scale = network.frame.spread
    times = jnp.asarray(model.horizon * scheme.grid[:-1], total.dtype)

    def outputs(layers: Layers, x: Array, dy: Array) -> tuple[Array, Array]:
        at = jax.vmap(jax.vmap(along, (None, None, None, 0, 0)), (None, None, 0, 0, 0))
        value, change = at(with_layers(network, layers), model.process, times, x, dy)
        return value / scale, change / scale

    gamma = jnp.exp(trace.log_gamma)
    _, change = outputs(network.layers, trace.x, trace.visit.dy)
    goal = (total - trace.y[0]) / scale + jnp.sum(gamma * change, axis=0)
    base = jax.vmap(jax.vmap(network.base.value, (None, 0)))(times, trace.x)
    data = _Data(goal - jnp.mean(goal), trace.x, trace.visit.dy, gamma, ((total - trace.total) / gamma - base) / scale)

    def loss(layers: Layers, batch: _Data) -> Array:
        value, change = outputs(layers, batch.x, batch.dy)
        variance = jnp.var(batch.goal - jnp.sum(batch.gamma * change, axis=0))
        return variance + VALUE * jnp.mean((batch.value - value) ** 2)

    def iterate(carry: tuple, key: Array) -> tuple[tuple, None]:
        layers, state = carry
        chosen = jax.random.randint(key, (min(BATCH, paths),), 0, paths)
        batch = jax.tree.map(lambda a: a[..., chosen, :] if a.ndim == 3 else a[..., chosen], data)
        updates, state = _optimiser().update(jax.grad(loss)(layers, batch), state)
        return (optax.apply_updates(layers, updates), state), None

    return jax.lax.scan(iterate, (network.layers, optimiser_state), jax.random.split(key, ITERATIONS))[0]
