"""Several devices and several processes: what runs on each, how precisely, and what all must agree on.

JAX's own engine does the work: a mesh of all devices, `jax.shard_map` over it, and the collectives behind them. With
`jax.distributed` the mesh spans processes; each of them runs the same loop and sees all the results.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import ArrayLike

Own = TypeVar("Own")
Result = TypeVar("Result")

AXIS = "paths"

_interrupts: list[int] = []     # Ctrl-C here that the processes have not agreed on yet


def on_each(function: Callable[[Any, Own], Result], shared: Any, own: Own) -> Result:
    """function(shared, own[i]) on device i, for the leading axis of `own`; called inside a jit.

    Each device runs the very program that one device alone would run, so that its numbers are the same.
    """
    arrays, rest = eqx.partition(shared, eqx.is_array)

    def here(arrays: Any, own: Own) -> Result:
        result = function(eqx.combine(arrays, rest), jax.tree.map(lambda a: a[0], own))
        return jax.tree.map(lambda a: a[None], result)

    copied, split = PartitionSpec(), PartitionSpec(AXIS)
    # Without the check, a scan may start from constants, which are alike on all devices, and end with paths.
    return jax.shard_map(here, mesh=_mesh(), in_specs=(copied, split), out_specs=split, check_vma=False)(arrays, own)


def split(make: Callable[[int], Any], shape: tuple[int, ...]) -> jax.Array:
    """make(i), of that shape, on device i: what `on_each` takes. Each process makes those of its own devices alone."""
    count, sharding = jax.device_count(), NamedSharding(_mesh(), PartitionSpec(AXIS))

    def one(index: tuple[slice, ...] | None) -> Any:
        assert index is not None
        return make(index[0].start or 0)[None]

    return jax.make_array_from_callback((count, *shape), sharding, one)


def gathered(tree: Result) -> Result:
    """All of it on every device, so that every process can read it; called inside a jit."""
    return jax.lax.with_sharding_constraint(tree, NamedSharding(_mesh(), PartitionSpec()))


def full_precision() -> AbstractContextManager[Any]:
    """Within it, matrix products are in single precision on every machine.

    JAX's default on recent GPUs rounds their factors to ten bits (TF32), which left relative errors of 3e-4 on an H100;
    budgets count on 2^-24.
    """
    return jax.default_matmul_precision("highest")


def single(array: ArrayLike) -> jax.Array:
    """A host array on the device in single precision, rounded by NumPy: JAX would compile a program for that."""
    return jnp.asarray(np.asarray(array, dtype=np.float32))


def _mesh() -> Mesh:
    return Mesh(np.array(jax.devices()), (AXIS,))


def agreed(seconds: float) -> float:
    """The first process's number, in all of them: what is decided by the clock must be decided alike.

    Raises:
        KeyboardInterrupt: in all processes, after Ctrl-C in any of them, see `interrupts`.
    """
    if jax.process_count() == 1:
        return seconds
    from jax.experimental.multihost_utils import process_allgather

    pending = len(_interrupts)
    said = process_allgather(np.array([seconds, pending], dtype=np.float32))
    del _interrupts[:pending]
    if said[:, 1].any():
        raise KeyboardInterrupt
    return float(said[0, 0])


@contextmanager
def interrupts() -> Iterator[None]:
    """With several processes, Ctrl-C waits until the clock is read next: one that left alone would strand the rest."""
    if jax.process_count() == 1 or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, lambda *_: _interrupts.append(1))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        _interrupts.clear()
