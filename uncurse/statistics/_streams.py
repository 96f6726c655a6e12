"""Independent random streams, named by their purpose: what trains never certifies."""

import enum
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, UInt32


class Purpose(enum.IntEnum):
    frame = 0        # frozen noise inside a surrogate
    pilot = 1        # sizes of samples, choice of methods
    training = 2
    certificate = 3
    baseline = 4
    constants = 5
    simulation = 9   # what a user looks at


def stream(seed: int, purpose: Purpose, *path: int) -> Key[Array, ""]:
    """The key of one stream: the same for the same seed, purpose and numbers, independent of every other."""
    return jax.random.wrap_key_data(jnp.asarray(_words(seed, purpose, *path).generate_state(2, np.uint32)))


def host_stream(seed: int, purpose: Purpose, *path: int) -> np.random.Generator:
    """The same for NumPy, where a few numbers are wanted and nothing should be compiled for them."""
    return np.random.default_rng(_words(seed, purpose, *path))


def draw_bits(key: Key[Array, ""], path: tuple[int, ...], shape: tuple[int, ...]) -> UInt32[Array, "..."]:
    """Random 32-bit words; the same for the same key, path and kind of machine.

    On a CPU they come from NumPy (SFC64): Threefry there takes a second to compile and ten times as long to run. On an
    accelerator they are made where they are used.
    """
    if jax.default_backend() == "cpu":
        seed = np.random.SeedSequence([*np.asarray(jax.random.key_data(key)).tolist(), *path])
        pairs = -(-int(np.prod(shape)) // 2)
        drawn = np.random.Generator(np.random.SFC64(seed)).integers(0, 2**64, pairs, dtype=np.uint64)
        return jnp.asarray(drawn.view(np.uint32)[: int(np.prod(shape))].reshape(shape))
    return _bits_on_device(key, np.asarray(path, dtype=np.uint32), shape)


@partial(jax.jit, static_argnums=2)
def _bits_on_device(key: Key[Array, ""], path: Array, shape: tuple[int, ...]) -> UInt32[Array, "..."]:
    for i in range(path.shape[0]):
        key = jax.random.fold_in(key, path[i])
    return jax.random.bits(key, shape, dtype=jnp.uint32)


def uniform(bits: UInt32[Array, "..."]) -> Float[Array, "..."]:
    """In (0, 1), on a grid symmetric about 1/2."""
    return ((bits >> 9).astype(jnp.float32) + 0.5) * np.float32(2**-23)


def normal(bits: UInt32[Array, "..."]) -> Float[Array, "..."]:
    """Standard normals, by inversion."""
    return np.float32(np.sqrt(2)) * jax.lax.erf_inv(2 * uniform(bits) - 1)


def _words(seed: int, purpose: Purpose, *path: int) -> np.random.SeedSequence:
    return np.random.SeedSequence([seed, int(purpose), *path])
