"""What differs on a GPU, as far as a machine without one can tell."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import uncurse as uc
from uncurse.certificates import rows_for
from uncurse.surrogates import AbstractPolicy


def watched(seen):
    """A matrix product that notes the precision which is asked for when it is traced."""
    matrix = np.eye(2, dtype=np.float32)

    def product(x):
        seen.append(jax.config.jax_default_matmul_precision)        # pyright: ignore[reportAttributeAccessIssue]
        return matrix @ x

    return product


class Watched(AbstractPolicy):
    product: object

    @property
    def dim(self):
        return 2

    def control(self, t, x):
        return -self.product(x)[:1]

    def recipe(self):
        return {}


def test_products_are_in_single_precision_wherever_a_number_is_made():
    """JAX's default is TF32 on recent GPUs, three digits."""
    seen = []
    product = watched(seen)
    problem = uc.ParabolicPDE(
        process=uc.Brownian(2, 1.0), horizon=0.1, terminal=lambda x: jnp.sum(jnp.cos(product(x))),
        source=lambda t, x, u, grad: -u,
    )
    assert set(seen) == {None}          # nothing is computed yet
    seen.clear()
    solution = uc.solve(problem, np.zeros(2), rtol=1e-2, progress=False)
    assert len(seen) > 1 and set(seen) == {"highest"}
    for evaluated in (solution.field, solution.field.grad):
        seen.clear()
        jax.clear_caches()
        evaluated(0.0, np.ones((3, 2)))
        assert seen and set(seen) == {"highest"}


def test_so_are_those_of_decisions():
    seen = []
    product = watched(seen)
    problem = uc.ControlProblem(
        dim=2, control_dim=1, drift=lambda t, x, a: jnp.stack([product(x)[1], a[0]]), volatility=0.1, horizon=0.2,
        steps=2, running_cost=lambda t, x, a: a @ a, terminal_cost=lambda x: x @ x,
    )
    seen.clear()
    uc.solve(problem, np.ones(2), rtol=1e-2, progress=False)
    assert len(seen) > 1 and set(seen) == {"highest"}
    policy = Watched(product)
    for run in (lambda: policy(0.0, np.ones(2)), policy.export):
        seen.clear()
        run()
        assert seen and set(seen) == {"highest"}


def test_so_are_those_of_simulated_runs_and_of_what_judges_them():
    """Shapes are checked without computing, and so at any precision; what runs comes after."""
    seen, judged = [], []
    case = dataclasses.replace(uc.zoo.lqg(dim=2), success=lambda path: jnp.all(watched(judged)(path[-1]) < 10.0))
    policy = Watched(watched(seen))
    rate = uc.success_rate(case, lambda t, x: -policy.product(x), paths=4)      # pyright: ignore[reportCallIssue]
    assert rate.value == 1.0 and seen[-1] == "highest" and set(judged) == {"highest"}


@pytest.mark.parametrize(("dim", "rows"), [(1, 131072), (100, 32768), (10_000, 256), (1_000_000, 16)])
def test_chunks_are_larger_on_an_accelerator_and_bounded(monkeypatch, dim, rows):
    """32 times a processor's, but for the least number; numbers in a chunk are 2^26 at most, or 16 paths."""
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert rows_for(dim, 20) == rows
