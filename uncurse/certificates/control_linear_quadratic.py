"""Linear-quadratic control: the least cost by Riccati's recursion, exact up to rounding."""

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from .._solution import Guarantee
from ._base import Bounds

if TYPE_CHECKING:
    from ..methods.riccati import LQ

ROUNDING = 2.0      # units in the last place a step, of the sum of the parts of the value


def linear_quadratic(lq: "LQ", points: Float[np.ndarray, "n d"], eps: float) -> Bounds:
    """V(0, x) = x.P_0 x / 2 + p_0.x + c_0 (Bertsekas, Dynamic Programming and Optimal Control, 3.1).

    For affine dynamics, quadratic costs and noise that depends on time alone, of any distribution with the covariance
    of the problem's, the dynamic programme keeps V quadratic. No sampling; both ends are the value plus or minus
    rounding: the matrices of a step are derivatives taken with a relative error of about `eps`, and there are N of them
    in a row. It is relative to |x|.|P_0||x| / 2 + |p_0|.|x| + |c_0|, which is not small where the terms of V cancel.
    """
    square = np.einsum("ni,ij,nj->n", points, lq.P[0], points) / 2
    linear, constant = points @ lq.p[0], np.full(len(points), lq.c[0])
    value = square + linear + constant
    far = np.abs(points)
    size = np.einsum("ni,ij,nj->n", far, np.abs(lq.P[0]), far) / 2 + far @ np.abs(lq.p[0]) + np.abs(constant)
    rounding = ROUNDING * eps * len(lq.K) * size
    zero = np.zeros_like(value)
    budget = {"sampling": zero, "policy gap": zero, "rounding": rounding}
    return Bounds(value, value - rounding, value + rounding, budget, Guarantee.two_sided)
