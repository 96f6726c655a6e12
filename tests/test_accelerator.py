"""What differs on a GPU, as far as a machine without one can tell."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import uncurse as uc
from uncurse.certificates import rows_for

LQ = uc.ControlProblem(
    dim=2, control_dim=1, drift=lambda t, x, a: jnp.stack([x[1], a[0]]), volatility=0.1, horizon=0.2, steps=2,
    running_cost=lambda t, x, a: a @ a, terminal_cost=lambda x: x @ x,
)


def watched(seen):
    """A matrix product that notes the precision which is asked for when it is traced."""
    matrix = np.eye(2, dtype=np.float32)

    def product(x):
        seen.append(jax.config.jax_default_matmul_precision)        # pyright: ignore[reportAttributeAccessIssue]
        return matrix @ x

    return product


def test_products_are_in_single_precision_wherever_a_number_is_made(tmp_path):
    """JAX's default is TF32 on recent GPUs, three digits."""
    seen = []
    product = watched(seen)
    problem = uc.ParabolicPDE(
        process=uc.Brownian(2, 1.0), horizon=0.1, terminal=lambda x: jnp.sum(jnp.cos(product(x))),
        source=lambda t, x, u, grad: -u,
    )
    seen.clear()                # to state a problem computes nothing that stays
    solution = uc.solve(problem, np.zeros(2), rtol=1e-2, progress=False)
    solution.field(0.0, np.ones((3, 2)))
    solution.field.grad(0.0, np.ones(2))
    assert len(seen) > 3 and set(seen) == {"highest"}


def test_policies_are_run_as_they_were_certified():
    seen = []
    product = watched(seen)

    def policy(t, x):
        return -product(x)[:1]

    uc.simulate(LQ, policy, np.ones(2), paths=4)
    assert seen[-1] == "highest"
    seen.clear()
    solution = uc.solve(LQ, np.ones(2), rtol=1e-2, progress=False)
    solution.policy(0.0, np.ones(2))
    assert jax.config.jax_default_matmul_precision is None          # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize("dim", [1, 100, 10_000, 1_000_000])
def test_chunks_are_larger_on_an_accelerator_and_bounded(monkeypatch, dim):
    here = rows_for(dim, 20)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    there = rows_for(dim, 20)
    assert here <= there <= 32 * here and there & (there - 1) == 0
    assert there == 16 or there * dim * 20 <= 2**26
