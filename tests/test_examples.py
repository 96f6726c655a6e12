"""Every example runs, and its number is right: checked by a formula, a grid or plain Monte Carlo in NumPy."""

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import uncurse as uc
from uncurse.classical import grid, radial

ROOT = Path(__file__).parents[1]


def example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"example_{name}", ROOT / "examples" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def holds(solution: uc.Solution, value: float, error: float = 0.0) -> bool:
    return bool(solution.low - error <= value <= solution.high + error)


def allen_cahn(dim: int) -> float:
    value, _ = radial.solve(
        lambda u, slope: u - u**3, lambda r: 0.5 / (1 + 0.2 * r**2), dim=dim, horizon=0.3, scale=5.0, rtol=1e-10
    )
    return value


def test_first(capsys):
    solution = example("first").main(dim=10)
    assert solution.half_width <= 1e-3 * abs(solution.value)
    assert solution.guarantee == "two_sided"
    assert holds(solution, allen_cahn(10))
    assert "two-sided" in capsys.readouterr().out


def test_the_first_number_of_the_readme_takes_six_statements():
    block = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert block is not None
    names: dict = {}
    exec(compile(block[1], "README.md", "exec"), names)
    solution = names["solution"]
    assert len([line for line in block[1].splitlines() if line and not line.startswith((" ", ")"))]) <= 6
    assert solution.half_width <= 1e-3 * abs(solution.value)
    assert holds(solution, allen_cahn(100))


def test_control(capsys):
    module = example("control")
    solution = module.main(dim=10, rtol=2e-2)
    value, gradient = module.exact(np.full(10, 0.5))
    assert solution.guarantee == "two_sided"
    assert solution.half_width <= 2e-2 * abs(solution.value)
    assert holds(solution, value)
    assert f"{value:.5f}" in capsys.readouterr().out
    assert gradient.shape == (10,)


def test_control_knows_its_answer():
    """The formula solves the equation: u_t + sigma^2/2 Lap u - sum u_i^2 / (2 r_i) = 0, by differences in t and x."""
    module = example("control")
    x, r, step = np.linspace(-0.5, 1.0, 4), module.prices(4), 1e-3
    horizon, (value, gradient) = module.HORIZON, module.exact(x)
    module.HORIZON = horizon - step         # the equation does not depend on time, so less horizon is a later start
    later = module.exact(x)[0]
    module.HORIZON = horizon
    moves = step * np.eye(4)
    laplacian = sum(module.exact(x + m)[0] + module.exact(x - m)[0] - 2 * value for m in moves) / step**2
    slopes = [(module.exact(x + m)[0] - module.exact(x - m)[0]) / (2 * step) for m in moves]
    assert np.allclose(slopes, gradient, atol=1e-6)
    rest = (later - value) / step + module.SIGMA**2 / 2 * laplacian - np.sum(gradient**2 / (2 * r))
    assert abs(rest) < 5e-3 * abs(value)


@pytest.fixture(scope="module")
def basket() -> ModuleType:
    return example("real_basket")


def test_real_prices_are_carried_by_the_package(basket):
    data = basket.market()
    assert len(data.names) == 20 and data.last == "2022-12-28"
    assert ((data.volatility > 0.1) & (data.volatility < 1.0)).all()
    assert np.linalg.eigvalsh(data.correlation)[0] > 0
    # Long-only portfolios cannot beat the smallest volatility.
    covariance = np.outer(data.volatility, data.volatility) * data.correlation
    assert data.smallest_volatility <= np.sqrt(covariance.mean())


def test_basket_with_one_rate_is_a_linear_price(basket):
    data = basket.market()
    solution = uc.solve(basket.problem(data, 0.05, 0.05), at=np.full(20, 100.0), rtol=2e-2, progress=False)
    price, error = basket.plain(data, 0.05, basket.claim)
    assert holds(solution, price, 4 * error)


def test_basket_with_two_rates_respects_the_elementary_bounds(basket):
    data = basket.market()
    solution = uc.solve(basket.problem(data), at=np.full(20, 100.0), rtol=5e-2, progress=False)
    (lend, e1), (borrow, e2), (worse, e3) = basket.brackets(data).values()
    assert solution.guarantee == "two_sided"
    assert solution.high >= max(lend - 4 * e1, borrow - 4 * e2)
    assert solution.low <= worse + 4 * e3


def test_basket_of_one_stock_against_a_grid(basket):
    data = basket.market(names=("AAPL",))
    lend, borrow, (sigma,) = basket.LEND, basket.BORROW, data.volatility
    fine = grid.solve(
        lambda x: lend * x,
        lambda x: sigma * x,
        lambda t, x, u, slope: -lend * u + (borrow - lend) * np.maximum(0.0, x * slope - u),
        basket.claim,
        horizon=basket.HORIZON,
        interval=(5.0, 445.0),
        nodes=1761,
    )
    solution = uc.solve(
        basket.problem(data), at=np.array([100.0]), rtol=0.2, method="smoothing", progress=False, throw=False
    )
    assert solution.guarantee == "two_sided"
    assert holds(solution, float(fine(100.0)), 1e-3)
    assert solution.half_width < 0.3    # of about 1.07: an interval that holds anything would pass otherwise
