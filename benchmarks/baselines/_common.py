"""What the baselines share."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from uncurse.processes import AbstractProcess

Deadline = Callable[[], bool]
"""Whether time is over; asked between chunks of work."""


def never() -> bool:
    return False


@dataclass(frozen=True)
class Outcome:
    """A value of u(0, at).

    spread: standard error of the value's own noise, where the method knows one. It says nothing of the bias, so it is
        no interval for u.
    done: how much of the budget was spent.
    """

    value: float
    spread: float | None
    done: int


NOTHING = Outcome(math.nan, None, 0)


def gradient_of(
    process: AbstractProcess, t: Float[Array, ""], x: Float[Array, " d"], z: Float[Array, " m"]
) -> Float[Array, " d"]:
    """The gradient in x that has z = Sigma^T q, q being the gradient in the process's chart.

    `whiten` applies the pseudo-inverse of Sigma and is linear, so its transpose applies that of Sigma^T.
    """
    q = jax.vjp(lambda y: process.whiten(t, x, y), jnp.zeros_like(x))[1](z)[0]
    return process.gradient(x, q)
