"""Steering a fleet of batteries: an equation of control, with both ends of the interval proved.

The charge of battery i is X_i away from its target, dX_i = a_i dt + sigma dW_i. Pushing costs r_i a_i^2 / 2 per unit of
time, with r_i from 1/2 for the cheapest battery to 2 for the dearest. At the end each battery pays X_i^2 / 2, and the
fleet pays d (mean X)^2 / 2 for its total. The least expected cost u(t, x) solves

    u_t + sigma^2/2 Lap u - sum_i u_i^2 / (2 r_i) = 0,      u(T, x) = |x|^2 / 2 + d (mean x)^2 / 2,

since min_a [a p + r a^2 / 2] = -p^2 / (2 r). The best push is a_i = -u_i / r_i. The upper end of the interval is the
cost, measured on fresh paths, of a policy: follow the surrogate's gradient, renewed at each of a few steps of time. The
lower end is what no policy can beat.

    python examples/control.py
"""

import jax.numpy as jnp
import numpy as np

import uncurse as uc

SIGMA, HORIZON = 0.5, 0.5


def prices(dim: int) -> np.ndarray:
    """r_i, from 1/2 to 2."""
    return np.geomspace(0.5, 2.0, dim)


def problem(dim: int) -> uc.ParabolicPDE:
    """The equation above. No bounds are declared: the library proves what it needs from the source."""
    r = jnp.asarray(prices(dim), dtype=jnp.float32)
    return uc.ParabolicPDE(
        process=uc.Brownian(dim, SIGMA),
        source=lambda t, x, u, grad: -jnp.sum(grad**2 / (2 * r)),
        terminal=lambda x: jnp.sum(x**2) / 2 + dim * jnp.mean(x) ** 2 / 2,
        horizon=HORIZON,
        name="fleet",
    )


def exact(x: np.ndarray) -> tuple[float, np.ndarray]:
    """u(0, x) and its gradient: x.P(0) x / 2 + sigma^2/2 int tr P dt with P(t) = (Q^-1 + (T - t) R^-1)^-1.

    That is the Riccati equation of this linear-quadratic problem, solved. The library does not know of it.
    """
    d = len(x)
    inverse = np.linalg.inv(np.eye(d) + np.ones((d, d)) / d)        # Q is the Hessian of the final cost

    def riccati(left: float) -> np.ndarray:
        return np.linalg.inv(inverse + left * np.diag(1 / prices(d)))

    nodes, weights = np.polynomial.legendre.leggauss(20)
    traces = [np.trace(riccati(HORIZON * (node + 1) / 2)) for node in nodes]
    gradient = riccati(HORIZON) @ x
    return float(x @ gradient / 2 + SIGMA**2 / 2 * HORIZON / 2 * weights @ traces), gradient


def main(dim: int = 40, rtol: float = 5e-3) -> uc.Solution:
    """Start half a unit above every target; print the least cost, and the first pushes."""
    x = np.full(dim, 0.5)
    solution = uc.solve(problem(dim), at=x, rtol=rtol)
    print(solution)
    value, gradient = exact(x)
    found, best = -np.asarray(solution.field.grad(0.0, x)) / prices(dim), -gradient / prices(dim)
    print(f"\nexact least cost    {value:.5f}")
    print(f"first push          {found[0]:.3f} for the cheapest battery (best {best[0]:.3f}), "
          f"{found[-1]:.3f} for the dearest (best {best[-1]:.3f})")  # fmt: skip
    return solution


if __name__ == "__main__":
    main()
