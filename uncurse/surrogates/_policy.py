"""What a policy is: a function of (t, x) that says what to do. It claims nothing; its cost is certified elsewhere."""

import abc
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float

from .._devices import full_precision
from ._base import Point, Scalar, batched

PLATFORMS = ("cpu", "cuda")     # that an exported policy runs on


class _AbstractDecision(eqx.Module):
    """What policies and stopping rules share: one function of a point, at many points or exported."""

    @property
    @abc.abstractmethod
    def dim(self) -> int:
        """Number d of coordinates of x."""

    @abc.abstractmethod
    def decide(self, t: Scalar, x: Point) -> Array:
        """What to do at (t, x)."""

    @abc.abstractmethod
    def recipe(self) -> dict[str, Any]:
        """What is needed, besides the problem, to build one of the same shape; fit for JSON."""

    def __call__(self, t: ArrayLike, x: ArrayLike) -> Array:
        """The decision at (t, x): x is (d,) or (n, d), t a number or (n,)."""
        times, points, one = batched(t, x, "policy", self.dim)
        with full_precision():
            found = _evaluate(self, times, points)
        return found[0] if one else found

    def export(self, path: Any = None) -> bytes:
        """The policy as StableHLO, for use without uncurse: see `docs/decisions_in_use.md`.

        `jax.export.deserialize(data).call(t, x)` calls it, t (n,) and x (n, d) in single precision, for any n.

        Args:
            path: where to write the bytes; None only returns them.

        Raises:
            ImportError: flatbuffers is missing: pip install 'uncurse[io]'.
        """
        return exported(self, path)


class AbstractPolicy(_AbstractDecision):
    """a = pi(t, x), for one point, within the control bounds."""

    @abc.abstractmethod
    def control(self, t: Scalar, x: Point) -> Float[Array, " m"]:
        """The control at (t, x)."""

    def wanted(self, t: Scalar, x: Point) -> Float[Array, " m"]:
        """The same before it is kept within the bounds, where there is such a thing."""
        return self.control(t, x)

    def decide(self, t: Scalar, x: Point) -> Float[Array, " m"]:
        return self.control(t, x)


class AbstractRule(_AbstractDecision):
    """Stop or go on at (t, x), for one point; t is one of the dates."""

    @abc.abstractmethod
    def stop(self, t: Scalar, x: Point) -> Bool[Array, ""]:
        """True where the rule stops."""

    def decide(self, t: Scalar, x: Point) -> Bool[Array, ""]:
        return self.stop(t, x)


def exported(policy: _AbstractDecision, path: Any = None) -> bytes:
    """The policy at any number of points, as serialised StableHLO."""
    from jax import export

    (n,) = export.symbolic_shape("n")
    shapes = jax.ShapeDtypeStruct((n,), np.float32), jax.ShapeDtypeStruct((n, policy.dim), np.float32)
    with full_precision():
        whole = export.export(jax.jit(jax.vmap(policy.decide)), platforms=PLATFORMS)(*shapes)
    try:
        data = bytes(whole.serialize())
    except ImportError as error:
        raise ImportError("exporting a policy needs flatbuffers: pip install 'uncurse[io]'") from error
    if path is not None:
        Path(path).write_bytes(data)
    return data


@eqx.filter_jit
def _evaluate(policy: _AbstractDecision, t: Float[Array, " n"], x: Float[Array, "n d"]) -> Array:
    return jax.vmap(policy.decide)(t, x)
