"""The first number: u_t + Lap u + u - u^3 = 0 (Allen-Cahn) in 100 dimensions, to one part in a thousand.

    python examples/first.py
"""

import jax.numpy as jnp

import uncurse as uc


def problem(dim: int = 100) -> uc.ParabolicPDE:
    """u_t + Lap u + u - u^3 = 0 on [0, 0.3], u(0.3, x) = 0.5 / (1 + 0.2 |x|^2)."""
    return uc.ParabolicPDE(
        process=uc.Brownian(dim, volatility=jnp.sqrt(2.0)),     # its generator is the Laplacian
        source=lambda t, x, u, grad: u - u**3,
        terminal=lambda x: 0.5 / (1 + 0.2 * jnp.sum(x**2)),
        horizon=0.3,
    )


def main(dim: int = 100, rtol: float = 1e-3) -> uc.Solution:
    """Solve at the origin and print the answer."""
    solution = uc.solve(problem(dim), at=jnp.zeros(dim), rtol=rtol)
    print(solution)
    return solution


if __name__ == "__main__":
    main()
