"""Checks of what a user hands in: each failure names the argument, what came and what was expected."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def positive_integer(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name} must be a whole number, at least 1; got {value!r} of type {type(value).__name__}")
    if value < 1:
        raise ValueError(f"{name} must be at least 1; got {value}")
    return int(value)


def number(name: str, value: Any, *, above: float = -np.inf, at_least: float = -np.inf, below: float = np.inf) -> float:
    """A finite real number within the stated limits."""
    array = as_array(name, value)
    if array.shape != ():
        raise ValueError(f"{name} must be one number; got an array of shape {array.shape}")
    result = float(array)
    if not np.isfinite(result):
        raise ValueError(f"{name} must be finite; got {result}")
    if not (result > above and result >= at_least and result < below):
        limits = [f"above {above:g}"] * bool(above > -np.inf) + [f"at least {at_least:g}"] * bool(at_least > -np.inf)
        limits += [f"below {below:g}"] * bool(below < np.inf)
        raise ValueError(f"{name} must be {' and '.join(limits)}; got {result:g}")
    return result


def as_array(name: str, value: Any) -> np.ndarray:
    """`value` as a float64 array on the host, refusing what is not made of real numbers."""
    try:
        array = np.asarray(value)
        if array.dtype.kind not in "biuf":
            raise TypeError(f"entries of type {array.dtype}")
        return array.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name} must be a real number or an array of real numbers; got {value!r} ({error})") from error


def coefficient(name: str, value: Any, dim: int, *, nonnegative: bool = False, matrix: bool = False) -> np.ndarray:
    """A coefficient of a process: a number, one number a coordinate, or (where it makes sense) a matrix (d, k)."""
    array = as_array(name, value)
    shapes: list[tuple] = [(), (dim,)]
    fits = array.shape in shapes or (matrix and array.ndim == 2 and array.shape[0] == dim and array.shape[1] >= 1)
    if not fits:
        expected = f"a number or an array of shape ({dim},)" + (f" or ({dim}, k)" if matrix else "")
        raise ValueError(f"{name} must be {expected}, since dim = {dim}; got shape {array.shape}")
    finite(name, array)
    if nonnegative and array.ndim < 2 and (array < 0).any():
        raise ValueError(f"{name} must not be negative; the smallest entry is {array.min():g}")
    return array


def finite(name: str, array: np.ndarray) -> np.ndarray:
    bad = np.argwhere(~np.isfinite(array))
    if len(bad):
        where = "" if array.ndim == 0 else f" at index {tuple(int(i) for i in bad[0])}"
        raise ValueError(f"{name} must be finite; found {array[tuple(bad[0])]}{where}")
    return array


def points(at: Any, dim: int) -> np.ndarray:
    """The points a user asks for: (d,) or (n, d), finite."""
    array = as_array("at", at)
    if array.ndim not in (1, 2) or array.shape[-1] != dim or array.shape[0] == 0:
        expected = f"({dim},) or (n, {dim}), since the process has dim = {dim}"
        raise ValueError(f"at must have shape {expected}; got {array.shape}")
    return finite("at", array)


def returns(
    name: str, function: Callable, arguments: Sequence[tuple[str, tuple]], shape: tuple | Callable, *,
    derivative: bool = True,
) -> None:  # fmt: skip
    """Trace `function` on one point without compiling it; refuse a result of the wrong shape.

    `arguments` are (label, shape) pairs, used in the message; `shape` is the shape expected, or a test of it that
    returns an explanation when the shape is wrong and None when it is right. With `derivative` the function must also
    be one that JAX can differentiate backwards.
    """
    if not callable(function):
        raise TypeError(f"{name} must be a function; got {function!r} of type {type(function).__name__}")
    call = f"{name}({', '.join(label for label, _ in arguments)})"
    inputs = [jax.ShapeDtypeStruct(s, np.float32) for _, s in arguments]
    shapes = ", ".join(f"{label} {s}" for label, s in arguments)
    try:
        out = jax.eval_shape(function, *inputs)
    except Exception as error:      # whatever the user's function raises goes on, with what was asked of it
        raise ValueError(
            f"{name} failed when called for one point, as {call} with shapes {shapes}: "
            f"{type(error).__name__}: {error}\n"
            f"It must be written with jax.numpy for a single point; batching is the library's business."
        ) from error
    got = getattr(out, "shape", None)
    if got is None:
        if isinstance(out, (int, float)) and shape == ():
            return
        raise TypeError(f"{call} must return an array; got {type(out).__name__}")
    problem = (None if got == shape else f"shape {shape}") if isinstance(shape, tuple) else shape(got)
    if problem:
        hint = " (sum over the coordinates?)" if shape == () else ""
        raise ValueError(f"{call} must return {problem} for one point; it returned shape {got}{hint}")
    if not np.issubdtype(out.dtype, np.floating):
        raise TypeError(f"{call} must return floating-point numbers; it returned {out.dtype}")
    if derivative:
        try:
            jax.eval_shape(lambda *a: jax.vjp(function, *a)[1](jnp.zeros(out.shape, out.dtype)), *inputs)
        except Exception as error:      # the same
            raise ValueError(
                f"{name} must have derivatives that JAX can take; {call} has not: {type(error).__name__}: {error}\n"
                f"A loop needs a fixed number of turns (jax.lax.scan, or fori_loop between two constants)."
            ) from error
