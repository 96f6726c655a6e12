"""What is known of a problem's source: proved from its trace, declared by the user, or neither."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from .._devices import single
from ..problems import ParabolicPDE
from ..processes import AbstractProcess, Brownian, GeometricBrownian, OrnsteinUhlenbeck
from ._shape import Shape, shape_in

T, X, U, GRAD = range(4)


@dataclass(frozen=True)
class Bound:
    """A constant and where it comes from: "declared" by the user, or "proved" from the trace of f."""

    value: Any
    origin: str


class Variation(NamedTuple):
    """Cells of u, in order, that cover its range; on each the values of df/du are at most `jump` apart."""

    low: Float[np.ndarray, " cells"]
    high: Float[np.ndarray, " cells"]
    jump: Float[np.ndarray, " cells"]
    slope: tuple[float, float]              # least and greatest df/du


@dataclass(frozen=True)
class Source:
    """The structure of f(t, x, u, grad). A `False` or a `None` means that nothing was proved."""

    uses_point: bool          # f depends on (t, x)
    uses_value: bool          # f depends on u
    uses_gradient: bool       # f depends on grad
    affine: bool              # in (u, grad) jointly
    affine_in_value: bool
    affine_in_gradient: bool
    smooth: bool              # no kink in (u, grad)
    smooth_terminal: bool     # the trace of g shows no kink
    uniform: bool             # neither f nor g depends on x: then u does not either
    shape: Bound | None       # "convex" or "concave" in (u, grad) jointly
    value_range: Bound | None = None            # (low, high) for u
    initial_range: Bound | None = None          # the same at t = 0
    slope: Bound | None = None                  # (low, high) for df/du
    curvature: Bound | None = None              # of d2f/du2
    gradient_slope: Bound | None = None         # diameter of df/dz
    gradient_curvature: Bound | None = None     # Lipschitz constant of df/dz in z
    variation: Bound | None = None              # how df/du varies, where f has kinks in u and df/du depends on u alone
    directions: Bound | None = None             # (k, m): an orthonormal basis of the space in which df/dz varies
    quadratic: float | None = None              # c if f = c |z|^2 + affine in grad, exactly

    @property
    def range_words(self) -> tuple[str, ...]:
        """What is known of the range of u, as one sentence; none where nothing is."""
        if self.value_range is None or self.initial_range is None:
            return ()
        (low, high), (least, most) = self.value_range.value, self.initial_range.value
        at_start = "" if (least, most) == (low, high) else f", at t = 0 in [{least:.4g}, {most:.4g}]"
        return (f"u lies in [{low:.4g}, {high:.4g}]{at_start}: {self.value_range.origin}",)

    @property
    def extension(self) -> tuple[float, float] | None:
        """The range of u outside which f may be continued affinely; not where that could spoil a joint convexity."""
        if self.value_range is None or (self.uses_gradient and self.shape is not None):
            return None
        return self.value_range.value


def analyse(problem: ParabolicPDE, at: np.ndarray) -> Source:
    """Trace f once for each question; nothing is compiled but a Hessian product where f is quadratic in grad."""
    d = problem.dim
    one, vector = jax.ShapeDtypeStruct((), np.float32), jax.ShapeDtypeStruct((d,), np.float32)
    inputs = (one, vector, one, vector)

    def shape(*chosen: int) -> Shape:
        return shape_in(problem.source, inputs, chosen)     # type: ignore[arg-type]

    _check_derivatives(problem, at, inputs)
    both, value, gradient, point = shape(U, GRAD), shape(U), shape(GRAD), shape(T, X)
    shapes = [(), (d,), (), (d,)]
    smooth = both.smooth or all(_smooth(problem.source, i, shapes) for i in (U, GRAD))
    declared = problem.bounds
    facts: dict[str, Any] = {
        name: Bound(getattr(declared, name), "declared")
        for name in ("shape", "value_range", "slope", "curvature", "gradient_slope", "gradient_curvature")
        if getattr(declared, name) is not None
    }
    if both.convex or both.concave:
        facts["shape"] = Bound("convex" if both.convex else "concave", "proved")
    quadratic = None
    if not gradient.affine and gradient.smooth:
        spectrum = _constant_hessian(problem, inputs)
        if spectrum is not None:
            low, high = spectrum
            facts["gradient_curvature"] = Bound(max(abs(low), abs(high)), "proved")
            if "shape" not in facts and value.independent and (low >= 0 or high <= 0):
                facts["shape"] = Bound("convex" if low >= 0 else "concave", "proved")
            if high - low <= 1e-5 * max(abs(low), abs(high)):
                quadratic = (low + high) / 4
    if declared.gradient_directions is not None and not gradient.affine and _plain(problem.process):
        facts["directions"] = Bound(_directions(problem, at, declared.gradient_directions), "declared")
    if gradient.independent and not value.independent:
        _prove_value_bounds(problem, at, facts, point.independent)
    if gradient.affine and not value.independent and not smooth and "curvature" not in facts:
        _prove_variation(problem, at, facts, inputs)
    if "value_range" in facts:
        facts.setdefault("initial_range", facts["value_range"])
    return Source(
        uses_point=not point.independent, uses_value=not value.independent, uses_gradient=not gradient.independent,
        affine=both.affine, affine_in_value=value.affine, affine_in_gradient=gradient.affine, smooth=smooth,
        smooth_terminal=is_smooth_terminal(problem),
        uniform=shape(X).independent and shape_in(problem.terminal, (vector,), (0,)).independent,
        quadratic=quadratic, **{"shape": None, **facts},
    )


def _prove_value_bounds(problem: ParabolicPDE, at: np.ndarray, facts: dict[str, Any], autonomous: bool) -> None:
    """The range of u by comparison, then df/du and d2f/du2 over it, by interval arithmetic on the traces."""
    from ._ranges import curvature_bound, slope_bounds, solution_reach

    positive = isinstance(problem.process, GeometricBrownian) and bool((at > 0).all())
    if "value_range" not in facts:
        found = solution_reach(problem, positive=positive)
        if found is None:
            return
        facts |= {"value_range": Bound(found.always, "proved"), "initial_range": Bound(found.initial, "proved")}
    reach, origin = facts["value_range"].value, facts["value_range"].origin
    for name, bound in (("slope", slope_bounds), ("curvature", curvature_bound)):
        if name not in facts:
            proved = bound(problem, reach)
            if proved is not None:
                facts[name] = Bound(proved, origin)


def _prove_variation(problem: ParabolicPDE, at: np.ndarray, facts: dict[str, Any], inputs: tuple) -> None:
    """How df/du varies over the range of u, or over all real numbers."""
    from ._ranges import slope_variation

    slope = jax.grad(problem.source, argnums=U)     # type: ignore[arg-type]
    if not shape_in(slope, inputs, (T, X, GRAD)).independent:
        return
    known = facts.get("value_range", Bound((-np.inf, np.inf), "proved"))
    positive = isinstance(problem.process, GeometricBrownian) and bool((at > 0).all())
    found = slope_variation(problem, known.value, positive=positive)
    if found is not None:
        facts["variation"] = Bound(found, known.origin)


def _plain(process: AbstractProcess) -> bool:
    """Whether the normals of a step are its Brownian increments, and no more."""
    return process.exact and process.normals == process.noise_dim


def _directions(problem: ParabolicPDE, at: np.ndarray, k: int) -> np.ndarray:
    """An orthonormal basis (k, m) of the space of dimension k in which df/dz varies, as declared."""
    process, rng, d = problem.process, np.random.default_rng(0), problem.dim

    def slope(t: Any, x: Any, u: Any, grad: Any) -> Any:
        b = jax.grad(problem.source, argnums=GRAD)(t, x, u, grad)       # type: ignore[arg-type]
        return process.whiten(t, x, process.tilt(x, b))

    m = 2 * k + 62
    points = at[rng.integers(0, len(at), m)] * (1 + 0.1 * rng.uniform(-1, 1, (m, d)))
    draws = rng.uniform(0, problem.horizon, m), points, rng.standard_normal(m), rng.standard_normal((m, d))
    slopes = np.asarray(jax.jit(jax.vmap(slope))(*(a.astype(np.float32) for a in draws)), dtype=np.float64)
    _, sizes, basis = np.linalg.svd(slopes - slopes.mean(axis=0), full_matrices=False)
    found = int((sizes > 1e-3 * sizes[0]).sum())
    if found > k:
        raise ValueError(
            f"gradient_directions={k} is not what f does: at random points df/dz varied in {found} directions. "
            "Declare that many, or leave it out."
        )
    return basis[:k]


def _constant_hessian(problem: ParabolicPDE, inputs: tuple) -> tuple[float, float] | None:
    """Extreme eigenvalues of d2f/dz2 where that matrix is proved constant and z = sigma^T grad can be inverted."""
    def product(t: Any, x: Any, u: Any, grad: Any, v: Any) -> Any:
        return jax.jvp(lambda p: jax.grad(problem.source, argnums=GRAD)(t, x, u, p), (grad,), (v,))[1]   # type: ignore

    if not shape_in(product, (*inputs, inputs[GRAD]), (T, X, U, GRAD)).independent:
        return None
    inverse = _inverse_transpose(problem.process)
    if inverse is None:
        return None
    d = problem.dim
    zero = np.zeros(d, dtype=np.float32)

    def in_noise(z: Any) -> Any:
        h = product(0.0, zero, 0.0, zero, z * inverse if inverse.ndim < 2 else inverse @ z)
        return h * inverse if inverse.ndim < 2 else inverse.T @ h

    rng = np.random.default_rng(0)
    signs, normals = rng.choice([-1.0, 1.0], (1, d)), rng.standard_normal((3, d))
    probes = np.concatenate([signs, normals]).astype(np.float32)
    images = np.asarray(jax.jit(jax.vmap(in_noise))(probes), dtype=np.float64)
    diagonal = images[0] * probes[0]
    # Gaussian probes meet no cancellation: an entry off the diagonal shows in their images with probability one.
    if np.abs(images[1:] - diagonal * probes[1:]).max() <= 1e-4 * np.abs(diagonal).max():
        return float(diagonal.min()), float(diagonal.max())
    if d > 2000:
        return None
    matrix = np.asarray(jax.jit(jax.vmap(in_noise))(np.eye(d, dtype=np.float32)), dtype=np.float64)
    spectrum = np.linalg.eigvalsh((matrix + matrix.T) / 2)
    return float(spectrum[0]), float(spectrum[-1])


def _inverse_transpose(process: AbstractProcess) -> jnp.ndarray | None:
    """sigma^-T of a process with constant volatility: a number, a vector for a diagonal, or a matrix."""
    if not isinstance(process, (Brownian, OrnsteinUhlenbeck)):
        return None
    sigma = np.asarray(process.volatility, dtype=np.float64)
    if sigma.ndim < 2:
        return None if (sigma == 0).any() else single(1 / sigma)
    square = sigma.shape[0] == sigma.shape[1] and np.linalg.cond(sigma) < 1e6
    return single(np.linalg.inv(sigma).T) if square else None


def is_smooth_terminal(problem: ParabolicPDE) -> bool:
    """Whether the trace of g shows no kink."""
    known = shape_in(problem.terminal, (jax.ShapeDtypeStruct((problem.dim,), np.float32),), (0,)).smooth
    return known or _smooth(problem.terminal, 0, [(problem.dim,)])


def _smooth(function: Any, argument: int, shapes: list[tuple[int, ...]]) -> bool:
    """The same by interval arithmetic, which also knows that the argument of a root stays above 0."""
    from ._intervals import TooLarge, is_smooth

    try:
        return is_smooth(function, argument, shapes)
    except TooLarge:
        return False


def _check_derivatives(problem: ParabolicPDE, at: np.ndarray, inputs: tuple) -> None:
    """Refuse an f whose derivatives are not its slopes; only code that replaces derivatives by hand can do that."""
    text = str(jax.make_jaxpr(problem.source)(*inputs))     # type: ignore[arg-type]
    if not any(word in text for word in ("stop_gradient", "custom_jvp_call", "custom_vjp_call")):
        return
    rng, d = np.random.default_rng(0), problem.dim
    scale = 1 + np.abs(at).max()

    def gap(t: Any, x: Any, u: Any, grad: Any, v: Any, w: Any) -> tuple[Any, Any]:
        f: Any = problem.source
        _, slope = jax.jvp(lambda u, grad: f(t, x, u, grad), (u, grad), (v, w))
        h = 1e-2
        return slope, (f(t, x, u + h * v, grad + h * w) - f(t, x, u - h * v, grad - h * w)) / (2 * h)

    m = 32
    points = at[rng.integers(0, len(at), m)] + 0.1 * scale * rng.standard_normal((m, d))
    draws = (rng.uniform(0, problem.horizon, m), points,
             rng.standard_normal(m), rng.standard_normal((m, d)), rng.standard_normal(m), rng.standard_normal((m, d)))
    slope, secant = (np.asarray(a) for a in jax.jit(jax.vmap(gap))(*(a.astype(np.float32) for a in draws)))
    size = np.abs(secant) + np.abs(slope)
    wrong = np.abs(slope - secant) > 0.05 * size + 1e-3 * np.median(size) + 1e-4
    if wrong.mean() > 0.5:
        raise ValueError(
            "source has derivatives that are not its slopes: they differ from difference quotients at "
            f"{wrong.mean():.0%} of random points. Remove stop_gradient and hand-written derivative rules from it."
        )
