"""A network for the value of going on: hidden units trained at each date, from those of the date after."""

from dataclasses import dataclass
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..surrogates import ContinuationNetwork, Nodes, Summary
from ._backward import AbstractBackward, chunks, least_squares

RIDGE = 1e-4        # in training, relative to the diagonal of the normal equations: they are solved in single precision
RATE = 1e-2         # of Adam at first; it ends at a hundredth of that
BATCH = 2048        # paths a step


@dataclass(frozen=True)
class BackwardNetwork(AbstractBackward):
    """Non-linear least squares at each date: theta and A of C(x) = theta . (u, tanh(A u)) (see `ContinuationNetwork`).

    Neural regression of the value of going on, as in Lapeyre and Lelong 2021 and Becker, Cheridito and Jentzen 2020, on
    targets that hardly scatter. theta is solved for, so that what is left is a function of A alone,

        J(A) = min_theta  mean |target - theta . (u, tanh(A u))|^2  +  ridge,

    whose gradient is that of the mean at the best theta (variable projection, Golub and Pereyra 1973). Adam (Kingma and
    Ba 2015) starts from the better of two layers: that of the date after, and random features. What it finds is used
    where it leaves less than that, both on the paths that it learns from and on an eighth that is held back: a network
    never fits these worse than random features of its width.

    Args:
        width: hidden units.
        paths: on which the regression is made.
        points: of the net that integrates over one step.
        iterations: of Adam, at each date.
    """

    width: int = 32
    paths: int = 16384
    points: int = 16
    iterations: int = 200

    name: ClassVar[str] = "network"

    def __str__(self) -> str:
        return f"a network of {self.width} units"

    @property
    def size(self) -> int:
        return self.width

    def draft(
        self, nodes: Nodes, summary: Summary, scale: float, least: float, rng: np.random.Generator
    ) -> ContinuationNetwork:
        return ContinuationNetwork.of(nodes, summary, scale, least, rng, self.width)

    def regress(
        self, surrogate: ContinuationNetwork, k: int, x: Float[np.ndarray, "n d"], target: Float[np.ndarray, " n"],
        rows: int,
    ) -> ContinuationNetwork:
        u = np.concatenate([np.asarray(_inputs(surrogate, jnp.asarray(k), *here)) for here in chunks(rows, x)])
        after = min(k + 1, surrogate.nodes.last - 1)
        starts = surrogate.inner[jnp.asarray([k, after])]
        plain = surrogate.theta.shape[1] - self.width
        layer = _train(starts, jnp.asarray(u), jnp.asarray(target) / surrogate.scale, plain, self.iterations)
        surrogate = eqx.tree_at(lambda s: s.inner, surrogate, surrogate.inner.at[k].set(layer))
        return least_squares(surrogate, k, x, target, rows)


@eqx.filter_jit
def _inputs(surrogate: ContinuationNetwork, k: Array, x: Float[Array, "n d"]) -> Float[Array, "n p"]:
    return jax.vmap(surrogate.inputs, (None, 0))(k, x)


@eqx.filter_jit
def _train(
    starts: Float[Array, "layers m p"], u: Float[Array, "n p"], goal: Float[Array, " n"], plain: int, iterations: int
) -> Float[Array, "m p"]:
    """The best layer to start from, or what Adam makes of it; the first `plain` inputs are features as they are."""
    import optax

    held = len(goal) // 8
    (new_u, u), (new_goal, goal) = (jnp.split(a, [held]) for a in (u, goal))
    batch = min(BATCH, len(goal))
    adam = optax.adam(optax.cosine_decay_schedule(RATE, iterations, alpha=0.01))

    def features(layer: Array, u: Array) -> Array:
        return jnp.concatenate([u[:, :plain], jnp.tanh(u @ layer.T)], axis=1)

    def left(layer: Array, u: Array, goal: Array) -> tuple[Array, Array]:
        """J, and the best theta."""
        psi = features(layer, u)
        gram, moment = psi.T @ psi / len(goal), psi.T @ goal / len(goal)
        ridge = RIDGE * jnp.diag(gram) + 1e-7 * jnp.trace(gram) / len(gram)
        theta, ridge = jax.lax.stop_gradient((jnp.linalg.solve(gram + jnp.diag(ridge), moment), ridge))
        return jnp.mean((goal - psi @ theta) ** 2) + ridge @ theta**2, theta

    def iterate(carry: tuple, i: Array) -> tuple[tuple, None]:
        layer, state = carry
        begin = i % (len(goal) // batch) * batch
        some = (jax.lax.dynamic_slice_in_dim(a, begin, batch) for a in (u, goal))
        updates, state = adam.update(jax.grad(left, has_aux=True)(layer, *some)[0], state)
        return (optax.apply_updates(layer, updates), state), None

    def score(layer: Array) -> Array:
        """What is left on the paths that are learnt from, and on those held back."""
        known, theta = left(layer, u, goal)
        return jnp.stack([known, jnp.mean((new_goal - features(layer, new_u) @ theta) ** 2)])

    before = jax.vmap(score)(starts)
    best = jnp.argmin(before[:, 0])
    trained = jax.lax.scan(iterate, (starts[best], adam.init(starts[best])), jnp.arange(iterations))[0][0]
    return jnp.where((score(trained) < before[best]).all(), trained, starts[best])
