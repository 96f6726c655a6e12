"""What a trace proves of each entry of a value: independent, affine, convex or concave in chosen inputs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.extend import core
from jaxtyping import Bool, Float, Int

from ._definite import EXACT, semidefinite
from ._shape import CALLS

Flags = Bool[np.ndarray, "..."]

MOVES = frozenset({"reshape", "broadcast_in_dim", "squeeze", "expand_dims", "transpose", "slice", "rev", "copy",
                   "copy_p", "concatenate", "gather", "dynamic_slice", "pad", "scatter", "dynamic_update_slice",
                   "reduce_precision"})
LARGEST = 4_000_000     # entries of a known constant; larger ones count as unknown


@dataclass(frozen=True)
class Elements:
    """Flags for each entry of a value; every flag is a proof, its absence is not. `value` where it is known."""

    independent: Flags
    affine: Flags
    convex: Flags
    concave: Flags
    positive: Flags         # >= 0
    negative: Flags         # <= 0
    value: Any = None

    @staticmethod
    def of(independent: Flags, affine: Flags | bool, convex: Flags | bool, concave: Flags | bool,
           positive: Flags | bool = False, negative: Flags | bool = False, value: Any = None) -> "Elements":
        """Consistent flags: independent is affine, affine is convex and concave, both are affine."""
        affine = affine | independent
        flags = independent, affine, convex | affine, concave | affine, positive, negative
        return Elements(*(np.asarray(f, dtype=bool) for f in np.broadcast_arrays(*flags)), value=value)

    @staticmethod
    def known(value: Any) -> "Elements":
        value = np.asarray(value)
        numeric = value.dtype.kind in "biuf"
        positive = value >= 0 if numeric else np.zeros(value.shape, bool)
        negative = value <= 0 if numeric else np.zeros(value.shape, bool)
        yes = np.ones(value.shape, bool)
        return Elements.of(yes, yes, yes, yes, positive, negative, value if value.size <= LARGEST else None)

    @staticmethod
    def unknown(shape: tuple[int, ...], independent: bool = False) -> "Elements":
        flag = np.full(shape, independent)
        return Elements.of(flag, flag, flag, flag)

    @staticmethod
    def inputs(chosen: Flags) -> "Elements":
        """Variables where chosen, parameters elsewhere."""
        yes = np.ones_like(chosen)
        return Elements.of(~chosen, yes, yes, yes)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.independent.shape

    @property
    def flags(self) -> tuple[Flags, ...]:
        return self.independent, self.affine, self.convex, self.concave, self.positive, self.negative

    def mapped(self, f: Callable[[Flags], Flags]) -> "Elements":
        return Elements.of(*(f(flag) for flag in self.flags))

    @property
    def negated(self) -> "Elements":
        return Elements.of(self.independent, self.affine, self.concave, self.convex, self.negative, self.positive)


def elements_in(function: Callable, chosen: Sequence[Flags]) -> Elements:
    """The flags of `function(*inputs)` as a function of the chosen entries; each input has the shape of its mask.

    The rules are those of disciplined convex programming (Grant, Boyd and Ye 2006), entry by entry, with squares of
    affine and of convex nonnegative values, and quadratic forms of known matrices.
    """
    masks = [np.asarray(c, dtype=bool) for c in chosen]
    closed = jax.make_jaxpr(function)(*(jax.ShapeDtypeStruct(m.shape, np.float32) for m in masks))
    inputs = [Elements.inputs(m) for m in masks]
    return _walk(closed.jaxpr, [Elements.known(c) for c in closed.consts], inputs)[0]


def _walk(jaxpr: Any, consts: list[Elements], inputs: list[Elements]) -> list[Elements]:
    known: dict[Any, Elements] = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*consts, *inputs], strict=True))
    forms: dict[Any, tuple[Any, Any]] = {}      # a value that is (another value) @ (known matrix)

    def read(atom: Any) -> Elements:
        return Elements.known(atom.val) if isinstance(atom, core.Literal) else known[atom]

    for eqn in jaxpr.eqns:
        name, operands = eqn.primitive.name, [read(a) for a in eqn.invars]
        atoms = [None if isinstance(a, core.Literal) else a for a in eqn.invars]
        if name in CALLS:
            inner = eqn.params[CALLS[name]]
            body, closed = (inner.jaxpr, inner.consts) if hasattr(inner, "consts") else (inner, ())
            results = _walk(body, [Elements.known(c) for c in closed], operands)
        elif all(o.value is not None for o in operands) and not eqn.effects and len(eqn.outvars) == 1:
            results = [Elements.known(eqn.primitive.bind(*(o.value for o in operands), **eqn.params))]
        else:
            same = len(atoms) == 2 and atoms[0] is not None and atoms[0] is atoms[1]
            shape = eqn.outvars[0].aval.shape
            form = _quadratic_form(name, eqn.params, atoms, operands, forms, known)
            found = form or _rule(name, operands, eqn.params, shape, same)
            results = [found] if len(eqn.outvars) == 1 else [
                Elements.unknown(v.aval.shape, all(o.independent.all() for o in operands)) for v in eqn.outvars
            ]
        if name == "dot_general" and sorted(len(o.shape) for o in operands) == [1, 2]:
            i = int(len(operands[1].shape) == 2)        # which of the two is the matrix
            if operands[i].value is not None:
                forms[eqn.outvars[0]] = (atoms[1 - i], _as_form(operands[i].value, eqn.params, i))
        known.update(zip(eqn.outvars, results, strict=True))
    return [read(a) for a in jaxpr.outvars]


def _as_form(matrix: np.ndarray, params: dict, i: int) -> np.ndarray:
    """M so that the product, in either order, is x @ M."""
    return matrix if tuple(params["dimension_numbers"][0][i]) == (0,) else matrix.T


def _quadratic_form(
    name: str, params: dict, atoms: list[Any], operands: list[Elements], forms: dict[Any, tuple[Any, Any]],
    known: dict[Any, Elements],
) -> Elements | None:
    """x^T Q x of an affine vector x and a known Q, written as (x @ Q) @ x."""
    if name != "dot_general" or any(len(o.shape) != 1 for o in operands):
        return None
    for one, other in (atoms, atoms[::-1]):
        if one in forms and forms[one][0] is other and other is not None and known[other].affine.all():
            matrix = np.asarray(forms[one][1], dtype=np.float64)
            matrix = (matrix + matrix.T)[None] / 2
            convex, concave = (semidefinite(h, rounding=EXACT) is not None for h in (matrix, -matrix))
            return Elements.of(np.asarray(known[other].independent.all()), False, convex, concave, convex, concave)
    return None


def _rule(name: str, operands: list[Elements], params: dict, shape: tuple[int, ...], same: bool) -> Elements:
    independent = all(o.independent.all() for o in operands)
    if name in MOVES:
        moved = _moved(name, operands, params)
        return Elements.unknown(shape, independent) if moved is None else moved
    if name in ELEMENTWISE:
        found = ELEMENTWISE[name](operands, params, same)
        return found.mapped(lambda f: np.broadcast_to(f, shape))
    if name in ("reduce_sum", "cumsum"):
        return _summed(operands[0], params, name)
    if name in ("reduce_max", "reduce_min"):
        o, axes = operands[0], tuple(params["axes"])
        every = lambda f: f.all(axis=axes)      # noqa: E731
        convex, concave = (every(o.convex), False) if name == "reduce_max" else (False, every(o.concave))
        return Elements.of(every(o.independent), False, convex, concave, every(o.positive), every(o.negative))
    if name == "dot_general":
        return _contracted(operands[0], operands[1], params, same)
    if name == "select_n" and operands[0].independent.all():
        cases = operands[1:]
        every = lambda i: np.logical_and.reduce([np.broadcast_to(c.flags[i], shape) for c in cases])      # noqa: E731
        return Elements.of(every(0), every(1), every(2), every(3), every(4), every(5))
    entries = [np.broadcast_to(o.independent, shape) for o in operands if o.shape in ((), shape)]
    if name in SEPARATE and len(entries) == len(operands):
        each = np.logical_and.reduce(entries)
        return Elements.of(each, each, each, each, name in POSITIVE)
    return Elements.unknown(shape, independent)


# --- entry by entry

SEPARATE = frozenset({       # each entry of the result depends on the same entry of the operands
    "sin", "cos", "tan", "tanh", "log", "log1p", "expm1", "logistic", "erf", "erfc", "atan", "asinh", "sinh", "cosh",
    "sqrt",
    "rsqrt", "pow", "atan2", "sign", "floor", "ceil", "round", "lt", "le", "gt", "ge", "eq", "ne", "and", "or", "not",
    "select_n", "clamp", "rem", "is_finite", "erf_inv", "exp2", "cbrt", "acos", "asin",
    "convert_element_type", "nextafter",
})
POSITIVE = frozenset({"logistic", "sqrt", "rsqrt", "erfc", "cosh", "exp2"})


def _add(o: list[Elements], params: dict, same: bool) -> Elements:
    return Elements.of(*(a & b for a, b in zip(o[0].flags, o[1].flags, strict=True)))


def _sub(o: list[Elements], params: dict, same: bool) -> Elements:
    return _add([o[0], o[1].negated], params, same)


def _scaled(value: Elements, factor: Elements) -> tuple[Flags, Flags]:
    """(convex, concave) of value times an independent factor."""
    up, down = factor.positive, factor.negative
    convex = (up & value.convex) | (down & value.concave) | value.affine
    concave = (up & value.concave) | (down & value.convex) | value.affine
    return factor.independent & convex, factor.independent & concave


def _mul(o: list[Elements], params: dict, same: bool) -> Elements:
    a, b = o
    if same:
        return _square([a], params, same)
    left, right = _scaled(a, b), _scaled(b, a)
    affine = (a.independent & b.affine) | (b.independent & a.affine)
    positive = (a.positive & b.positive) | (a.negative & b.negative)
    negative = (a.positive & b.negative) | (a.negative & b.positive)
    both = a.independent & b.independent
    zero = (a.positive & a.negative & a.independent) | (b.positive & b.negative & b.independent)
    return Elements.of(both | zero, affine | zero, left[0] | right[0], left[1] | right[1], positive, negative)


def _div(o: list[Elements], params: dict, same: bool) -> Elements:
    a, b = o
    convex, concave = _scaled(a, b)
    positive = (a.positive & b.positive) | (a.negative & b.negative)
    negative = (a.positive & b.negative) | (a.negative & b.positive)
    return Elements.of(a.independent & b.independent, b.independent & a.affine, convex, concave, positive, negative)


def _square(o: list[Elements], params: dict, same: bool) -> Elements:
    a = o[0]
    convex = a.affine | (a.convex & a.positive) | (a.concave & a.negative)
    return Elements.of(a.independent, False, convex, False, True)


def _integer_pow(o: list[Elements], params: dict, same: bool) -> Elements:
    a, y = o[0], params["y"]
    if y in (0, 1):
        return Elements.known(np.ones(a.shape, np.float32)) if y == 0 else a
    if y % 2 == 0 and y > 0:
        return _square(o, params, same)
    convex = (a.convex & a.positive) if y > 0 else np.zeros(a.shape, bool)
    return Elements.of(a.independent, False, convex, False, a.positive, a.negative)


def _convert(o: list[Elements], params: dict, same: bool) -> Elements:
    if np.issubdtype(params["new_dtype"], np.floating):
        return Elements.of(*o[0].flags)
    return Elements.of(o[0].independent, False, False, False, o[0].positive, o[0].negative)     # it rounds


ELEMENTWISE: dict[str, Callable[[list[Elements], dict, bool], Elements]] = {
    "add": _add, "add_any": _add, "sub": _sub, "mul": _mul, "div": _div, "square": _square, "integer_pow": _integer_pow,
    "convert_element_type": _convert,
    "neg": lambda o, p, s: o[0].negated,
    "abs": lambda o, p, s: Elements.of(
        o[0].independent, False,
        o[0].affine | (o[0].convex & o[0].positive) | (o[0].concave & o[0].negative), False, True),
    "max": lambda o, p, s: Elements.of(
        o[0].independent & o[1].independent, False, o[0].convex & o[1].convex, False,
        o[0].positive | o[1].positive, o[0].negative & o[1].negative),
    "min": lambda o, p, s: Elements.of(
        o[0].independent & o[1].independent, False, False, o[0].concave & o[1].concave,
        o[0].positive & o[1].positive, o[0].negative | o[1].negative),
    "exp": lambda o, p, s: Elements.of(o[0].independent, False, o[0].convex, False, True),
    "log": lambda o, p, s: Elements.of(o[0].independent, False, False, o[0].concave),
    "sqrt": lambda o, p, s: Elements.of(o[0].independent, False, False, o[0].concave, True),
}


# --- moves and sums

def _moved(name: str, operands: list[Elements], params: dict) -> Elements | None:
    """A value whose entries are entries of others: move their numbers, then look up the flags."""
    from jax import lax

    data, extra = _apart(name, operands)
    if any(e.value is None for e in extra):
        return None
    begins = np.cumsum([0, *(int(np.prod(d.shape)) for d in data)])
    numbers = [np.arange(b, b + int(np.prod(d.shape)), dtype=np.int32).reshape(d.shape)
               for b, d in zip(begins, data, strict=False)]
    places = _move(name, numbers, [e.value for e in extra], params, lax)
    flat = [np.concatenate([d.flags[i].ravel() for d in data]) for i in range(6)]
    inside = (places >= 0) & (places < begins[-1])
    picked = [np.where(inside, f[np.where(inside, places, 0)], i < 4) for i, f in enumerate(flat)]
    return Elements.of(*picked)


def _apart(name: str, operands: list[Elements]) -> tuple[list[Elements], list[Elements]]:
    """The values that are moved, and the indices that say where to."""
    if name == "concatenate":
        return operands, []
    if name == "scatter":
        return [operands[0], operands[2]], [operands[1]]
    count = 2 if name in ("pad", "dynamic_update_slice") else 1
    return operands[:count], operands[count:]


def _move(name: str, numbers: list[Int[np.ndarray, "..."]], extra: list, params: dict, lax: Any) -> np.ndarray:
    one = numbers[0]
    if name in ("reshape", "squeeze", "expand_dims"):
        shape = params["new_sizes"] if name == "reshape" else None
        if shape is not None:
            return one.reshape(shape)
        return np.squeeze(one, params["dimensions"]) if name == "squeeze" else np.expand_dims(one, params["dimensions"])
    if name == "broadcast_in_dim":
        shape, dims = params["shape"], params["broadcast_dimensions"]
        full = [1] * len(shape)
        for k, axis in enumerate(dims):
            full[axis] = one.shape[k]
        return np.broadcast_to(one.reshape(full), shape)
    if name == "transpose":
        return one.transpose(params["permutation"])
    if name == "slice":
        strides = params["strides"] or (1,) * one.ndim
        index = zip(params["start_indices"], params["limit_indices"], strides, strict=True)
        return one[tuple(slice(*i) for i in index)]
    if name == "rev":
        return np.flip(one, params["dimensions"])
    if name == "concatenate":
        return np.concatenate(numbers, axis=params["dimension"])
    if name in ("gather", "dynamic_slice", "pad"):
        primitive = {"gather": lax.gather_p, "dynamic_slice": lax.dynamic_slice_p, "pad": lax.pad_p}[name]
        return np.asarray(primitive.bind(*numbers, *extra, **params))
    if name == "dynamic_update_slice":
        return np.asarray(lax.dynamic_update_slice_p.bind(*numbers, *extra, **params))
    if name == "scatter":
        return np.asarray(lax.scatter_p.bind(numbers[0], extra[0], numbers[1], **params))
    return one      # copies


def _summed(o: Elements, params: dict, name: str) -> Elements:
    if name == "cumsum":
        every = lambda f: np.broadcast_to(f.all(axis=params["axis"], keepdims=True), f.shape)      # noqa: E731
    else:
        every = lambda f: f.all(axis=tuple(params["axes"]))      # noqa: E731
    return o.mapped(every)


def _contracted(a: Elements, b: Elements, params: dict, same: bool) -> Elements:
    """Sums of products: a flag of the sum needs that of each product; what a known 0 multiplies does not count."""
    from jax import lax

    (left, right), (batch_left, batch_right) = params["dimension_numbers"]
    if batch_left or batch_right:
        flag = bool(a.independent.all() and b.independent.all())
        return Elements.unknown(jax.eval_shape(
            lambda x, y: lax.dot_general(x, y, params["dimension_numbers"]),
            jax.ShapeDtypeStruct(a.shape, np.float32), jax.ShapeDtypeStruct(b.shape, np.float32)).shape, flag)

    def count(x: Flags, y: Flags) -> Float[np.ndarray, "..."]:
        return np.tensordot(x.astype(np.float32), y.astype(np.float32), axes=(list(left), list(right)))

    zero_a = a.positive & a.negative & a.independent
    zero_b = b.positive & b.negative & b.independent

    def bad(good: Callable[[Elements, Elements], list[tuple[Flags, Flags]]]) -> Flags:
        """Whether any product that counts is not in the (disjoint) rectangles of good ones."""
        total = count(~zero_a, ~zero_b)
        return total - sum(count(x & ~zero_a, y & ~zero_b) for x, y in good(a, b)) > 0.5

    def by_sign(x: Elements, convex: bool) -> tuple[Flags, Flags, Flags]:
        up, down = (x.convex, x.concave) if convex else (x.concave, x.convex)
        return up, down, x.affine

    def rectangles(convex: bool) -> Callable[[Elements, Elements], list[tuple[Flags, Flags]]]:
        def good(a: Elements, b: Elements) -> list[tuple[Flags, Flags]]:
            up, down, flat = by_sign(b, convex)
            i, p, n = a.independent, a.positive, a.negative
            rows = [(i & p, up), (i & n & ~p, down), (i & ~p & ~n, flat)]
            up, down, flat = by_sign(a, convex)
            j, p, n = b.independent, b.positive, b.negative
            return [*rows, (~i & up, j & p), (~i & down, j & n & ~p), (~i & flat, j & ~p & ~n)]

        return good

    def affine(a: Elements, b: Elements) -> list[tuple[Flags, Flags]]:
        return [(a.independent, b.affine), (~a.independent & a.affine, b.independent)]

    squares = same and tuple(left) == tuple(right) and len(a.shape) == len(left)
    positive = ~bad(lambda a, b: [(a.positive, b.positive), (a.negative & ~a.positive, b.negative)])
    convex = ~bad(rectangles(True))
    if squares:
        convex, positive = convex | np.asarray(_square([a], params, same).convex.all()), np.asarray(True)
    return Elements.of(
        ~bad(lambda a, b: [(a.independent, b.independent)]), ~bad(affine), convex, ~bad(rectangles(False)),
        positive,
    )
