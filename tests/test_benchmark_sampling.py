"""benchmarks/sampling.py hands other random words to the sampler: that they have the law they claim, and fit."""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import sampling
from uncurse.certificates import Scheme
from uncurse.methods import plan
from uncurse.statistics import normal, uniform


def test_complemented_words_are_the_mirrored_normals_and_times():
    words = jnp.asarray(np.random.default_rng(0).integers(0, 2**32, 10_000, dtype=np.uint32))
    assert np.array_equal(normal(~words), -normal(words))
    assert np.array_equal(uniform(~words), 1 - uniform(words))


@pytest.mark.parametrize("random_time", [True, False])
def test_turned_words_are_principal_components_in_time(random_time):
    scheme = Scheme(5, random_time, False, False, grading=2.0)
    parts, k, rows = (2 if random_time else 1), 3, 4
    normals = parts * k
    words = np.full((5, rows, normals + 2), 2**31, dtype=np.uint32)     # normals of 0, as nearly as words can
    words[0, :, :k] = np.uint32(0.8413447 * 2**32)                      # but the first component is 1
    turned = sampling.in_time(jnp.asarray(words), normals, scheme)
    assert np.array_equal(turned[..., normals:], words[..., normals:])
    lengths = np.repeat(scheme.shares / parts, parts)
    z = np.asarray(normal(turned[..., :normals])).reshape(5, rows, parts, k).transpose(0, 2, 1, 3).reshape(-1, rows, k)
    path = np.cumsum(np.sqrt(lengths)[:, None, None] * z, axis=0)
    ends = np.cumsum(lengths)
    largest = np.linalg.eigvalsh(np.minimum.outer(ends, ends)).max()
    assert np.allclose((path**2).sum(axis=0), largest, rtol=1e-4)


def test_turned_words_are_independent_uniforms():
    scheme = Scheme(3, True, False, False)
    words = np.random.default_rng(1).integers(0, 2**32, (3, 40_000, 4), dtype=np.uint32)
    z = np.asarray(normal(sampling.in_time(jnp.asarray(words), 4, scheme))).transpose(0, 2, 1).reshape(12, -1)
    assert np.abs(z @ z.T / z.shape[1] - np.eye(12)).max() < 5 / np.sqrt(40_000)
    assert np.abs((z**4).mean(axis=1) - 3).max() < 5 * np.sqrt(96 / 40_000)


def test_points_go_where_they_are_said_to():
    points = np.arange(24, dtype=np.uint32).reshape(2, 12)             # two paths, three steps of three normals and one
    found = sampling.arranged(points, (3, 2, 4), normals=3)
    assert found[:, 0, 3].tolist() == [0, 1, 2]
    assert found[:, 0, :3].ravel().tolist() == list(range(3, 12))


def test_replicates_have_the_mean_of_independent_paths(monkeypatch):
    monkeypatch.setattr(sampling, "MANY", 4096)
    frozen, name = sampling._proposed("allen-cahn", plan(None)[:1], 1e-1, 5.0, dim=2)
    assert name == "smoothing"
    frozen = replace(frozen, surrogate=sampling.Nothing())
    chunks = [frozen.run(sampling.draw_bits(sampling.stream(5, sampling.Purpose.certificate), (i,), frozen.shape))
              for i in range(8)]
    plain = np.concatenate([c.fine.total[0] for c in chunks])
    steps, rows, words = frozen.shape
    means = []
    for seed in range(8):
        points = sampling.sobol(steps * words, rows, rows, np.random.default_rng(seed))
        means.append(frozen.run(sampling.arranged(next(points), frozen.shape, frozen.normals)).fine.total.mean())
    error = np.hypot(plain.std() / np.sqrt(plain.size), np.std(means, ddof=1) / np.sqrt(8))
    assert abs(np.mean(means) - plain.mean()) < 4 * error
    gains, _ = sampling.replicated(frozen, 8)
    assert gains[1] > 2     # in two dimensions, without a surrogate, they do pay
