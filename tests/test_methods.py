"""Methods propose what is worth proposing: they cut the variance that is certified, and are rebuilt from a recipe."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import uncurse as uc
from uncurse.analysis import analyse
from uncurse.methods import METHODS, AbstractMethod, MultilevelPicard, Setting, Smoothing, plan, skeleton
from uncurse.statistics import Purpose, stream
from uncurse.surrogates import Smoothed


def wave(dim: int) -> tuple[uc.ParabolicPDE, float]:
    """u = sin(n . x) exp(-(T - t)/2 + (T - t)/2) solves u_t + 1/2 Lap u + u/2 = 0, n a unit vector along no axis."""
    n = np.arange(1, dim + 1) / np.linalg.norm(np.arange(1, dim + 1))
    problem = uc.ParabolicPDE(
        process=uc.Brownian(dim, 1.0),
        source=lambda t, x, u, grad: 0.5 * u,
        terminal=lambda x: jnp.sin(jnp.asarray(n, dtype=x.dtype) @ x),
        horizon=1.0,
    )
    return problem, float(np.sin(n @ np.full(dim, 0.2)))


def setting_of(problem: uc.ParabolicPDE, at: np.ndarray, steps: int = 8) -> Setting:
    return Setting(problem, analyse(problem, at[None]), at[None], steps, 2048, 0)


def spread(setting: Setting, surrogate, y0: float) -> float:
    """Standard deviation of S on fresh paths."""
    chunk = setting.sampler.pilot(surrogate, np.array([y0]), stream(7, Purpose.pilot, 1), 2048)
    return float(np.std(chunk.fine.total))


def same_shape(problem: uc.ParabolicPDE, surrogate) -> bool:
    """Whether the recipe rebuilds it, but for the numbers."""
    rebuilt = skeleton(problem, surrogate.recipe())
    same = jax.tree.map(lambda a, b: np.shape(a) == np.shape(b), rebuilt, surrogate)
    return jax.tree.structure(rebuilt) == jax.tree.structure(surrogate) and all(jax.tree.leaves(same))


@pytest.mark.parametrize("name", ["features", "network"])
def test_training_cuts_the_certified_variance(name: str) -> None:
    """One direction in ten dimensions: three frozen pairs smooth it badly, training finds it; at least a factor 2.

    What is found is the solution, and so is its gradient.
    """
    problem, value = wave(10)
    at = np.full(10, 0.2)
    setting = setting_of(problem, at)
    y0 = np.array([value])
    base = Smoothing(pairs=3).init(setting, None, y0).surrogate
    method = METHODS[name]()
    state = method.init(setting, base, y0)
    for _ in range(2 if name == "features" else 5):
        state = method.step(setting, state, y0)
    field = state.surrogate
    assert spread(setting, field, value) < 0.5 * spread(setting, base, value)
    assert same_shape(problem, field)
    x = at + 0.5 * np.random.default_rng(0).standard_normal((64, 10))
    n = np.arange(1, 11) / np.linalg.norm(np.arange(1, 11))
    assert np.sqrt(np.mean((np.asarray(field(0.5, x)) - np.sin(x @ n)) ** 2)) < 0.05
    slopes = np.asarray(field.grad(0.5, x)) @ n
    assert np.sqrt(np.mean((slopes - np.cos(x @ n)) ** 2)) < 0.1


def test_picard_iterates_approach_the_solution() -> None:
    """f = u/2 and g = 1: level 1 stops at the first term of exp(T/2), level 2 at the second."""
    problem = uc.ParabolicPDE(
        process=uc.Brownian(2, 0.1),
        source=lambda t, x, u, grad: 0.5 * u,
        terminal=lambda x: 1.0 + 0.0 * x[0],
        horizon=1.0,
    )
    at = np.zeros(2)
    setting = setting_of(problem, at)
    method = MultilevelPicard(levels=2, samples=16)
    state = method.init(setting, None, np.array([1.0]))
    first = float(state.surrogate(0.0, at))
    state = method.step(setting, state, np.array([1.0]))
    second = float(state.surrogate(0.0, at))
    assert state.finished
    assert first == pytest.approx(1.5, abs=1e-3)                # 1 + T/2
    assert second == pytest.approx(1.625, abs=2e-3)             # 1 + T/2 + T^2/8


def test_smoothing_is_exact_for_squares() -> None:
    """Lengths of the frozen noise are matched, so E |X_T|^2 comes out to rounding."""
    problem = uc.ParabolicPDE(process=uc.Brownian(6, 2.0), terminal=lambda x: jnp.sum(x**2), horizon=0.5)
    surrogate = Smoothed.of(problem, 4, np.random.default_rng(1))
    x = np.linspace(-1, 1, 6)
    assert float(surrogate(0.0, x)) == pytest.approx(float(np.sum(x**2)) + 6 * 4 * 0.5, rel=1e-5)


@pytest.mark.parametrize("name", sorted({*METHODS} - {"features", "network"}))
def test_a_recipe_rebuilds_the_shape(name: str) -> None:
    problem, value = wave(3)
    setting = setting_of(problem, np.full(3, 0.2), steps=4)
    assert same_shape(problem, METHODS[name]().init(setting, None, np.array([value])).surrogate)


@pytest.mark.parametrize("name", sorted(METHODS))
def test_every_method_certifies_the_same_answer(name: str) -> None:
    """The interface is real: any proposal ends in an interval that holds the truth (false alarm below 1 %)."""
    problem, value = wave(4)
    solution = uc.solve(problem, np.full(4, 0.2), method=name, rtol=2e-2, progress=False, seed=3)
    assert solution.guarantee is uc.Guarantee.unbiased
    assert solution.low <= value <= solution.high
    assert solution.stats["method"] == name


def test_the_plan() -> None:
    assert [m.name for m in plan(None)] == ["smoothing", "features", "network"]
    own = Smoothing(pairs=2)
    assert plan(own) == [own]
    assert all(isinstance(plan(name)[0], AbstractMethod) for name in METHODS)
    with pytest.raises(ValueError, match=r"method must be None.*'deep'"):
        plan("deep")
