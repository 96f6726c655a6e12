"""Independent random streams, named by their purpose: what trains never certifies."""

import enum

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key


class Purpose(enum.IntEnum):
    frame = 0        # frozen noise inside a surrogate
    pilot = 1        # sizes of samples, choice of methods
    training = 2
    certificate = 3
    baseline = 4
    constants = 5


def stream(seed: int, purpose: Purpose, *path: int) -> Key[Array, ""]:
    """The key of one stream: the same for the same seed, purpose and numbers, independent of every other."""
    return jax.random.wrap_key_data(jnp.asarray(_words(seed, purpose, *path).generate_state(2, np.uint32)))


def host_stream(seed: int, purpose: Purpose, *path: int) -> np.random.Generator:
    """The same for NumPy, where a few numbers are wanted and nothing should be compiled for them."""
    return np.random.default_rng(_words(seed, purpose, *path))


def _words(seed: int, purpose: Purpose, *path: int) -> np.random.SeedSequence:
    return np.random.SeedSequence([seed, int(purpose), *path])
