"""Problems that are nonlinear in the gradient: control, quadratic growth, Burgers."""

import math

import jax.numpy as jnp
import numpy as np

from .. import _checks
from ..classical import quadrature
from ..problems import SourceBounds
from ..processes import Brownian
from ._case import Case, digits, make


def hjb(dim: int = 100, strength: float = 1.0) -> Case:
    """u_t + Lap u - strength |grad u|^2 = 0, u(1, x) = log((1 + |x|^2) / 2), at x = 0.

    The value of steering dX = 2 sqrt(strength) m dt + sqrt(2) dW at the running cost |m|^2 (Han, Jentzen and E 2018,
    Proc. Natl. Acad. Sci. 115). The larger `strength`, the further it is from a heat equation: 10, 20 and 50 are the
    real tests. Reference: the Hopf-Cole formula, u = -log(E exp(-strength g(sqrt(2) xi))) / strength, by quadrature.

    Bounds: f = -(strength / 2) |z|^2 with z = sqrt(2) grad u is concave, has an f_z of Lipschitz constant `strength`,
    and does not contain u.

    Args:
        dim: d.
        strength: of the control, above 0.
    """
    dim = _checks.positive_integer("dim", dim)
    strength = _checks.number("strength", strength, above=0.0)
    value, error = quadrature.hopf_cole(
        lambda r: np.log((1 + r**2) / 2), dim=dim, horizon=1.0, strength=strength
    )
    return make(
        "hjb",
        process=Brownian(dim, math.sqrt(2.0)),
        source=lambda t, x, u, grad: -strength * jnp.sum(grad**2),
        terminal=lambda x: jnp.log((1 + jnp.sum(x**2)) / 2),
        horizon=1.0,
        bounds=SourceBounds(shape="concave", slope=(0.0, 0.0), curvature=0.0, gradient_curvature=strength),
        at=np.zeros(dim),
        reference=value,
        origin="quadrature of the Hopf-Cole formula",
        digits=digits(value, error),
        error=error,
        parameters={"dim": dim, "strength": strength},
    )


def quadratic_gradient(dim: int = 100) -> Case:
    """u_t + 1/2 Lap u + |grad u|^2 = psi_t + 1/2 Lap psi + |grad psi|^2 = h, with the solution u = psi, at x = 0.

    psi(t, x) = sin(w^0.4), w = 1 - t + |x|^2 / d, T = 1, so u(0, 0) = sin 1 (E, Han and Jentzen 2017, Commun. Math.
    Stat. 5, the example with quadratically growing derivatives, after Gobet and Turkedjiev). With phi(w) = sin(w^0.4)
    and q = |x|^2 / d the time derivative and one half of the Laplacian cancel, and h = (4 phi'^2 + 2 phi'') q / d.
    psi is not smooth at the corner t = 1, x = 0: there, w is kept above 1e-10, which paths do not notice.

    Bounds: f = |z|^2 - h with z = grad u is convex, has an f_z of Lipschitz constant 2 and does not contain u; the
    solution is a sine.

    Args:
        dim: d.
    """
    dim = _checks.positive_integer("dim", dim)
    power, horizon, floor = 0.4, 1.0, 1e-10

    def source(t, x, u, grad):
        q = jnp.sum(x**2) / dim
        w = jnp.maximum(horizon - t + q, floor)
        s, c = jnp.sin(w**power), jnp.cos(w**power)
        first = power * w ** (power - 1) * c
        second = power * (power - 1) * w ** (power - 2) * c - (power * w ** (power - 1)) ** 2 * s
        return jnp.sum(grad**2) - (4 * first**2 + 2 * second) * q / dim

    return make(
        "quadratic-gradient",
        process=Brownian(dim, 1.0),
        source=source,
        terminal=lambda x: jnp.sin(jnp.maximum(jnp.sum(x**2) / dim, floor) ** power),
        horizon=horizon,
        bounds=SourceBounds(
            shape="convex", value_range=(-1.0, 1.0), slope=(0.0, 0.0), curvature=0.0, gradient_curvature=2.0
        ),
        at=np.zeros(dim),
        reference=math.sin(1.0),
        origin="exact: u(t, x) = sin((1 - t + |x|^2/d)^0.4)",
        digits=15,
        parameters={"dim": dim},
    )


def burgers(dim: int = 50) -> Case:
    """u_t + d^2/2 Lap u + (u - (2 + d)/(2 d)) d sum_i u_i = 0 on [0, 0.2], at x = 0.

    u(t, x) = 1 / (1 + exp(-t - mean(x))), so u(0, 0) = 1/2 (E, Han and Jentzen 2017, Commun. Math. Stat. 5, the
    Burgers-type example, after Chassagneux).

    Bounds: the solution is a logistic function, hence in (0, 1); with z = d grad u, f_z = (u - (2 + d)/(2 d))
    (1, ..., 1) moves by at most sqrt(d) while u crosses that range. f is bilinear: f_u is a sum of z, and unbounded.

    Args:
        dim: d.
    """
    dim = _checks.positive_integer("dim", dim)
    horizon, shift = 0.2, (2 + dim) / (2 * dim)
    return make(
        "burgers",
        process=Brownian(dim, float(dim)),
        source=lambda t, x, u, grad: (u - shift) * dim * jnp.sum(grad),
        terminal=lambda x: 1 / (1 + jnp.exp(-horizon - jnp.mean(x))),
        horizon=horizon,
        bounds=SourceBounds(value_range=(0.0, 1.0), gradient_slope=math.sqrt(dim)),
        at=np.zeros(dim),
        reference=0.5,
        origin="exact: u(t, x) = 1 / (1 + exp(-t - mean(x)))",
        digits=15,
        parameters={"dim": dim},
    )
