"""Problems that are nonlinear in u: reaction-diffusion equations."""

import math
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from .. import _checks
from ..classical import radial
from ..problems import SourceBounds
from ..processes import Brownian
from ._case import Case, digits, make

_HORIZON = 0.3


def allen_cahn(dim: int = 100) -> Case:
    """u_t + Lap u + u - u^3 = 0 on [0, 0.3], u(0.3, x) = 1 / (2 + 0.4 |x|^2), at x = 0.

    Han, Jentzen and E (2018, Proc. Natl. Acad. Sci. 115), who print .0528 for d = 100. Reference: the radial equation,
    solved to twelve digits.

    Bounds: 0 <= g <= 1/2, and 0 and the solution of y' = y - y^3, y(0) = 1/2, at time T, bracket u (comparison
    principle). On that range f' = 1 - 3 u^2 falls and |f''| = 6 u grows.

    Args:
        dim: d.
    """
    top = 1 / math.sqrt(1 + 3 * math.exp(-2 * _HORIZON))
    return _radial_case(
        "allen-cahn",
        dim,
        source=lambda t, x, u, grad: u - u**3,
        profile=lambda u, slope: u - u**3,
        bounds=SourceBounds(
            value_range=(0.0, top), slope=(1 - 3 * top**2, 1.0), curvature=6 * top, **_NO_GRADIENT
        ),
    )


def semilinear_heat(dim: int = 100) -> Case:
    """u_t + Lap u + (1 - u^2) / (1 + u^2) = 0 on [0, 0.3], u(0.3, x) = 5 / (10 + 2 |x|^2), at x = 0.

    Values in use come from multilevel Picard iteration: .47006, .31674, .28753 for d = 10, 100, 1000 (as in Shi, Hu,
    Lin and Kawaguchi 2024, Stochastic Taylor derivative estimator), off by up to 1e-3 relative. Reference: the radial
    equation, solved to twelve digits.

    Bounds: 0 <= g <= 1/2, f >= 0 on [0, 1], and the solution of y' = f(y), y(0) = 1/2, at time T, which satisfies
    2 artanh y - y = t + const, bounds u (comparison principle). f' = -4 u / (1 + u^2)^2 is least at u = 1/sqrt(3), and
    |f''| = 4 |1 - 3 u^2| / (1 + u^2)^3 greatest at u = 0.

    Args:
        dim: d.
    """
    top, target = 0.5, 2 * math.atanh(0.5) - 0.5 + _HORIZON
    for _ in range(20):     # Newton's method, from below
        top -= (2 * math.atanh(top) - top - target) * (1 - top**2) / (1 + top**2)
    return _radial_case(
        "semilinear-heat",
        dim,
        source=lambda t, x, u, grad: (1 - u**2) / (1 + u**2),
        profile=lambda u, slope: (1 - u**2) / (1 + u**2),
        bounds=SourceBounds(
            value_range=(0.0, top), slope=(-3 * math.sqrt(3) / 4, 0.0), curvature=4.0, **_NO_GRADIENT
        ),
    )


def sine_gordon(dim: int = 100) -> Case:
    """u_t + Lap u + sin u = 0 on [0, 0.3], u(0.3, x) = 5 / (10 + 2 |x|^2), at x = 0.

    Values in use come from multilevel Picard iteration: .322947, .0528368, .0055896 for d = 10, 100, 1000 (as in Shi,
    Hu, Lin and Kawaguchi 2024, Stochastic Taylor derivative estimator), off by up to 5e-4 relative. Reference: the
    radial equation, solved to twelve digits.

    Bounds: 0 <= g <= 1/2, and 0 and the solution of y' = sin y, tan(y/2) = exp(t) tan(1/4), at time T, bracket u
    (comparison principle). On that range f' = cos u falls and |f''| = sin u grows.

    Args:
        dim: d.
    """
    top = 2 * math.atan(math.exp(_HORIZON) * math.tan(0.25))
    return _radial_case(
        "sine-gordon",
        dim,
        source=lambda t, x, u, grad: jnp.sin(u),
        profile=lambda u, slope: np.sin(u),
        bounds=SourceBounds(
            value_range=(0.0, top), slope=(math.cos(top), 1.0), curvature=math.sin(top), **_NO_GRADIENT
        ),
    )


def reaction_diffusion(dim: int = 100, kappa: float = 0.6) -> Case:
    """u_t + 1/2 Lap u + min(1, (u - v)^2) = 0 on [0, 1], with the solution u = v, at x = 0.

    v(t, x) = 1 + kappa + sin(sum(x) / sqrt(d)) exp((t - 1) / 2), so u(0, 0) = 1 + kappa (E, Han and Jentzen 2017,
    Commun. Math. Stat. 5, the example with oscillating solutions, after Gobet and Turkedjiev).

    Bounds: the solution stays within 1 of 1 + kappa; |f_u| = 2 |u - v| where that is below 2, else 0. f has kinks.

    Args:
        dim: d.
        kappa: shifts the solution.
    """
    dim, kappa = _checks.positive_integer("dim", dim), _checks.number("kappa", kappa)
    horizon, frequency = 1.0, 1 / math.sqrt(dim)

    def exact(t, x):
        return 1 + kappa + jnp.sin(frequency * jnp.sum(x)) * jnp.exp((t - horizon) / 2)

    return make(
        "reaction-diffusion",
        process=Brownian(dim, 1.0),
        source=lambda t, x, u, grad: jnp.minimum(1.0, (u - exact(t, x)) ** 2),
        terminal=lambda x: exact(horizon, x),
        horizon=horizon,
        bounds=SourceBounds(value_range=(kappa, 2 + kappa), slope=(-2.0, 2.0), **_NO_GRADIENT),
        at=np.zeros(dim),
        reference=1 + kappa,
        origin="exact: u(t, x) = 1 + kappa + sin(sum(x) / sqrt(d)) exp((t - 1) / 2)",
        digits=15,
        parameters={"dim": dim, "kappa": kappa},
    )


_NO_GRADIENT: Any = {"gradient_slope": 0.0, "gradient_curvature": 0.0}     # f does not contain grad u


def _radial_case(name: str, dim: int, *, source: Callable, profile: Callable, bounds: SourceBounds) -> Case:
    """u_t + Lap u + f(u) = 0 with g = 1 / (2 + 0.4 |x|^2) and T = 0.3; `profile` is f for NumPy."""
    dim = _checks.positive_integer("dim", dim)
    # scale: the pole of g, at |x|^2 = -5
    value, error = radial.solve(
        profile, lambda r: 1 / (2 + 0.4 * r**2), dim=dim, horizon=_HORIZON, scale=5.0, rtol=1e-12
    )
    return make(
        name,
        process=Brownian(dim, math.sqrt(2.0)),
        source=source,
        terminal=lambda x: 1 / (2 + 0.4 * jnp.sum(x**2)),
        horizon=_HORIZON,
        bounds=bounds,
        at=np.zeros(dim),
        reference=value,
        origin="the radial equation, by collocation",
        digits=digits(value, error),
        error=error,
        parameters={"dim": dim},
    )
