import pytest
import torch

from ops.losses.unrolled import unrolled_gradient, with_gradient

RATE = 0.3


class Quadratic:
    """Two players' losses that are of second degree in the weights and mixed in the alphas."""

    def __init__(self):
        generator = torch.Generator().manual_seed(0)

        def drawn(*shape):
            return torch.randn(*shape, generator=generator, dtype=torch.float64)

        self.weights = [drawn(4).requires_grad_(), drawn(2, 3).requires_grad_()]
        self.alphas = [drawn(5).requires_grad_()]
        self.train_mix, self.val_mix = drawn(10, 5), drawn(10, 5)
        root = drawn(10, 10)
        self.hessian, self.asked = root @ root.T / 10, 0

    def training(self, weights=None):
        self.asked += 1
        flat = _flat(weights or self.weights)
        return 0.5 * flat @ self.hessian @ flat + flat @ self.train_mix @ self.alphas[0].sin()

    def validation(self, weights=None):
        flat = _flat(weights or self.weights)
        return (flat - self.val_mix @ self.alphas[0]).square().sum()


def _flat(weights):
    return torch.cat([weight.flatten() for weight in weights])


def by_double_backward(problem, rate):
    """The same through the step itself, which torch differentiates once more."""
    slope = torch.autograd.grad(problem.training(), problem.weights, create_graph=True)
    moved = [weight - rate * part for weight, part in zip(problem.weights, slope, strict=True)]
    loss = problem.validation(moved)
    return loss, torch.autograd.grad(loss, problem.alphas)


def found_in(problem, rate=RATE, **settings):
    return unrolled_gradient(
        problem.training, problem.validation, problem.weights, problem.alphas, rate, **settings
    )


@pytest.mark.parametrize("rate", [0.01, RATE, 2.0])
def test_it_is_what_a_second_differentiation_through_the_step_gives(rate):
    problem = Quadratic()
    loss, (wanted,) = by_double_backward(problem, rate)
    found = found_in(problem, rate)
    torch.testing.assert_close(found.loss, loss.detach())
    # The training loss is of the first degree in alpha's part, so that differences are exact.
    torch.testing.assert_close(found.gradient[0], wanted, rtol=1e-8, atol=1e-8)
    (plain,) = torch.autograd.grad(problem.validation(), problem.alphas)
    assert (plain - wanted).norm() > 1e-3 * wanted.norm()


def test_a_step_of_nothing_is_first_order():
    problem = Quadratic()
    found = found_in(problem, 0.0)
    (plain,) = torch.autograd.grad(problem.validation(), problem.alphas)
    assert torch.equal(found.gradient[0], plain)
    assert torch.equal(found.loss, problem.validation().detach())


def test_the_training_loss_is_asked_three_times_and_the_weights_stay_bit_for_bit():
    problem = Quadratic()
    before = [weight.detach().clone() for weight in problem.weights]
    found_in(problem)
    assert problem.asked == 3
    assert all(torch.equal(a, b) for a, b in zip(before, problem.weights, strict=True))
    assert all(tensor.grad is None for tensor in [*problem.weights, *problem.alphas])


def test_the_weights_come_back_after_an_error():
    problem = Quadratic()
    before = [weight.detach().clone() for weight in problem.weights]

    def broken():
        raise RuntimeError("no batch")

    with pytest.raises(RuntimeError, match="no batch"):
        unrolled_gradient(problem.training, broken, problem.weights, problem.alphas, RATE)
    assert all(torch.equal(a, b) for a, b in zip(before, problem.weights, strict=True))


def test_a_validation_loss_that_sees_no_weights_leaves_its_own_gradient():
    problem = Quadratic()
    (alpha,) = problem.alphas
    found = unrolled_gradient(
        problem.training, lambda: alpha.square().sum(), problem.weights, [alpha], RATE
    )
    torch.testing.assert_close(found.gradient[0], 2 * alpha.detach())


def test_all_processes_step_along_the_mean_of_their_gradients():
    problem = Quadratic()
    halved = found_in(problem, mean=lambda slope: slope / 2)
    # w' is half a step ahead, and so is what multiplies the second derivatives.
    wanted = found_in(problem, RATE / 2)
    torch.testing.assert_close(halved.loss, wanted.loss)
    torch.testing.assert_close(halved.gradient, wanted.gradient, rtol=1e-8, atol=1e-8)


def test_half_precision_sees_the_moved_weights():
    layer, alpha = torch.nn.Linear(8, 8), torch.ones((), requires_grad=True)
    x = torch.randn(4, 8)

    def loss():
        return (alpha * layer(x)).float().square().mean()

    with torch.autocast("cpu", torch.bfloat16):
        still = loss().detach()
        found = unrolled_gradient(loss, loss, list(layer.parameters()), [alpha], 1.0)
        assert found.loss < 0.8 * still
        assert torch.equal(loss(), still)


def test_a_loss_with_a_gradient_has_that_value_and_that_gradient():
    tensors = [torch.randn(3, requires_grad=True), torch.randn(2, 2, requires_grad=True)]
    slopes = [torch.randn(3), torch.randn(2, 2)]
    loss = with_gradient(torch.tensor(1.5), tensors, slopes)
    loss.backward()
    assert float(loss.detach()) == 1.5
    assert all(torch.equal(t.grad, s) for t, s in zip(tensors, slopes, strict=True))
