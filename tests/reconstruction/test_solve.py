import numpy as np
import pytest
import torch

from compressor.reconstruction.gram import Gram
from compressor.reconstruction.solve import bias_of, output_moments, residual, ridge_solution

ROWS, FEATURES, OUTPUTS = 200, 5, 3


@pytest.fixture
def rows():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, ROWS, FEATURES, generator=generator) + 0.7
    y = torch.randn(2, ROWS, OUTPUTS, generator=generator) + x[..., :3] - 2
    old = torch.randn(2, OUTPUTS, FEATURES, generator=generator, dtype=torch.float64)
    return x, y, old


def gram(x, y):
    """In uneven pieces, as batches come."""
    added = Gram(len(x), x.shape[2], y.shape[2])
    for part in (slice(0, 30), slice(30, 31), slice(31, None)):
        added.add(x[:, part], y[:, part])
    return added


def by_brute_force(x, y, old, ridge, *, centred):
    """Ridge regression as least squares with further rows, which pull towards the old weights."""
    x, y = x.double().numpy(), y.double().numpy()
    if centred:
        x, y = x - x.mean(0), y - y.mean(0)
    pull = np.sqrt(ridge * (x**2).mean() * len(x)) * np.eye(x.shape[1])
    return np.linalg.lstsq(np.vstack([x, pull]), np.vstack([y, pull @ old.numpy().T]), rcond=None)[0].T


@pytest.mark.parametrize("centred", [True, False])
@pytest.mark.parametrize("ridge", [1e-6, 0.1, 10.0])
def test_the_weights_are_those_of_brute_force(rows, ridge, centred):
    x, y, old = rows
    found = ridge_solution(gram(x, y).moments(centred=centred), old, ridge)
    for group in range(2):
        expected = by_brute_force(x[group], y[group], old[group], ridge, centred=centred)
        np.testing.assert_allclose(found[group].numpy(), expected, rtol=1e-8, atol=1e-8)


def test_with_a_bias_the_mean_error_is_zero(rows):
    x, y, old = rows
    moments = gram(x, y).moments(centred=True)
    weight = ridge_solution(moments, old, 1e-3)
    made = x.double() @ weight.mT + bias_of(moments, weight)[:, None]
    torch.testing.assert_close(made.mean(1), y.double().mean(1))


@pytest.mark.parametrize("centred", [True, False])
def test_the_residual_is_the_mean_squared_error(rows, centred):
    x, y, old = rows
    moments, bias = gram(x, y).moments(centred=centred), torch.ones(2, OUTPUTS, dtype=torch.float64)
    error = y.double() - x.double() @ old.mT
    size = (y.double() - y.double().mean(1, keepdim=True)) if centred else y.double()
    best = error - error.mean(1, keepdim=True) if centred else error
    assert residual(moments, old) == pytest.approx(float(best.square().sum() / size.square().sum()))
    if centred:
        told = float((error - 1).square().sum() / size.square().sum())
        assert residual(moments, old, bias) == pytest.approx(told)


def test_mean_and_variance_of_the_outputs(rows):
    x, y, old = rows
    mean, variance = output_moments(gram(x, y).moments(centred=True), old)
    made = x.double() @ old.mT
    torch.testing.assert_close(mean, made.mean(1).flatten())
    torch.testing.assert_close(variance, made.var(1, correction=0).flatten())


def test_where_nothing_arrives_the_weights_stay(rows):
    x, y, old = rows
    torch.testing.assert_close(ridge_solution(gram(0 * x, y).moments(centred=True), old, 1e-3), old)
