"""Semilinear parabolic equations: what a user states, and no numerics."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from jaxtyping import Array, Float

from .. import _checks
from ..processes import AbstractProcess
from ._reference import Reference

Scalar = Float[Array, ""]
Point = Float[Array, " d"]
Source = Callable[[Scalar, Point, Scalar, Point], Scalar]


@dataclass(frozen=True, kw_only=True)
class SourceBounds:
    """What is known of f, for a certificate to stand on. Whatever is left out is proved from f, or else estimated.

    A certificate that had to estimate a constant is an `estimate`; one that was given it trusts it and says so.

    Args:
        shape: "convex" or "concave", if f is so in (u, grad) jointly.
        value_range: (low, high) within which the solution u stays, on all of [0, T] x R^d.
        slope: (low, high) for df/du, over the range of u.
        curvature: bound of |d2f/du2|, over the range of u; leave it out where f has kinks.
        gradient_slope: largest distance between two values of df/dz, with z = sigma^T grad, in units of df/dz.
        gradient_curvature: Lipschitz constant of df/dz in z; 2c for f = -c |z|^2.
        gradient_directions: dimension of the fixed space of z in which df/dz varies; 1 where f is an affine function
            of z plus any function of one fixed combination of its entries, such as sum_i z_i. The fewer, the
            narrower the interval of an f with kinks.
    """

    shape: Literal["convex", "concave"] | None = None
    value_range: tuple[float, float] | None = None
    slope: tuple[float, float] | None = None
    curvature: float | None = None
    gradient_slope: float | None = None
    gradient_curvature: float | None = None
    gradient_directions: int | None = None

    def __post_init__(self) -> None:
        if self.shape not in (None, "convex", "concave"):
            raise ValueError(f'shape must be "convex", "concave" or None; got {self.shape!r}')
        for name in ("value_range", "slope"):
            pair = getattr(self, name)
            if pair is None:
                continue
            if np.shape(pair) != (2,):
                raise ValueError(f"{name} must be a pair (low, high); got {pair!r}")
            low, high = (_checks.number(f"{name}[{i}]", v) for i, v in enumerate(pair))
            if low > high:
                raise ValueError(f"{name} must be (low, high) with low <= high; got ({low:g}, {high:g})")
        for name in ("curvature", "gradient_slope", "gradient_curvature"):
            if getattr(self, name) is not None:
                _checks.number(name, getattr(self, name), at_least=0.0)
        if self.gradient_directions is not None:
            _checks.positive_integer("gradient_directions", self.gradient_directions)


@dataclass(frozen=True, kw_only=True, eq=False)
class ParabolicPDE:
    """u_t + L u + f(t, x, u, grad u) = 0 on [0, T] x R^d, u(T, x) = g(x), with L the generator of `process`.

    Args:
        process: the diffusion whose generator is L; it also says d.
        source: f(t, x, u, grad) -> (), for one point: t (), x (d,), u (), grad (d,). `grad` is the gradient in x, not
            sigma^T grad. `None` for f = 0.
        terminal: g(x) -> (), for one point x (d,).
        horizon: T > 0, in the process's unit of time.
        bounds: what is known of f, if anything: see `SourceBounds`.
        reference: a known value of u at t = 0, to be printed beside the answer.
        name: a label for reports.
        zoo: the name and the parameters of the zoo case that made this problem, so that a saved answer finds it again.

    Raises:
        TypeError, ValueError: an argument of the wrong kind, shape or sign; nothing is compiled to find out.

    The probabilistic form is the backward equation of Pardoux and Peng (1992): Y_t = u(t, X_t) solves
    dY = -f(t, X, Y, grad u) dt + sigma^T grad u . dW, Y_T = g(X_T).
    """

    process: AbstractProcess
    source: Source | None = None
    terminal: Callable[[Point], Scalar]
    horizon: float
    bounds: SourceBounds = field(default_factory=SourceBounds)
    reference: Reference | None = None
    name: str = "parabolic"
    zoo: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.process, AbstractProcess):
            raise TypeError(
                f"process must be a process such as uc.Brownian(dim, volatility); got {self.process!r}"
            )
        d = self.process.dim
        _checks.returns("terminal", self.terminal, [("x", (d,))], ())
        if self.source is None:
            object.__setattr__(self, "source", _no_source)
        source: Any = self.source
        _checks.returns("source", source, [("t", ()), ("x", (d,)), ("u", ()), ("grad", (d,))], ())
        object.__setattr__(self, "horizon", _checks.number("horizon", self.horizon, above=0.0))
        if not isinstance(self.bounds, SourceBounds):
            raise TypeError(f"bounds must be a SourceBounds; got {self.bounds!r}")

    @property
    def dim(self) -> int:
        """Number d of coordinates."""
        return self.process.dim


def _no_source(t: Scalar, x: Point, u: Scalar, grad: Point) -> Scalar:
    return 0.0 * u
