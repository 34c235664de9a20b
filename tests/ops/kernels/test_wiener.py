import pytest
import torch
import torch.nn.functional as F

from ops.kernels.wiener import NORMS, FFTOperator, wiener, wiener_as_printed

SIZES = [(8, 8), (7, 13), (1, 5), (6, 1), (1, 1), (9, 4)]


def by_complex_transforms(signal, kernel, eps=0.01, norm="ortho"):
    """Eq. 2 with its conjugate, on the whole of the Fourier domain."""
    first, second = (torch.fft.fft2(maps, norm=norm) for maps in (signal, kernel))
    return torch.fft.ifft2(second.conj() * first / (second.abs() ** 2 + eps), norm=norm).real


def landscape(height=44, width=36):
    """A map with the falling spectrum of an image."""
    noise = torch.fft.rfft2(torch.randn(1, 2, height, width))
    rows, columns = torch.fft.fftfreq(height)[:, None], torch.fft.rfftfreq(width)
    return torch.fft.irfft2(noise / (0.02 + rows**2 + columns**2).sqrt(), s=(height, width))


def motion(like, length=5):
    """A point spread function that moves the map along its rows while it blurs it."""
    kernel = torch.zeros_like(like)
    kernel[..., 0, :length] = torch.arange(length, 0, -1.0)
    return kernel / kernel.sum((-2, -1), keepdim=True)


def blurred_round(sharp, kernel):
    """A circular convolution, tap by tap."""
    total = torch.zeros_like(sharp)
    for tap in range(5):
        total += kernel[..., :1, tap : tap + 1] * sharp.roll(tap, -1)
    return total


def likeness(a, b):
    """The correlation of two maps."""
    return torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1].item()


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("size", SIZES)
def test_the_real_transforms_give_what_the_complex_ones_give(size, norm):
    signal, kernel = torch.randn(2, 2, 3, *size, dtype=torch.float64)
    wanted = by_complex_transforms(signal, kernel, 0.1, norm)
    torch.testing.assert_close(wiener(signal, kernel, 0.1, norm), wanted)
    signal.requires_grad_()
    torch.testing.assert_close(wiener(signal, kernel, 0.1, norm), wanted)


def test_wiener_undoes_a_circular_blur():
    sharp = landscape()
    kernel = motion(sharp)
    soft = blurred_round(sharp, kernel)
    restored = wiener(soft, kernel, eps=1e-4, norm="backward")
    assert likeness(soft, sharp) < 0.96
    assert likeness(restored, sharp) > 0.99
    torch.testing.assert_close(restored.std(), sharp.std(), rtol=0.02, atol=0)


def test_with_the_printed_eps_it_still_undoes_most_of_the_blur():
    sharp = landscape()
    kernel = motion(sharp)
    assert likeness(wiener(blurred_round(sharp, kernel), kernel, norm="backward"), sharp) > 0.99


def test_the_printed_form_does_not_undo_a_blur_that_shifts():
    sharp = landscape()
    kernel = motion(sharp)
    soft = blurred_round(sharp, kernel)
    printed = wiener_as_printed(soft, kernel, eps=1e-4, norm="backward")
    assert likeness(printed, sharp) < likeness(soft, sharp) < 0.96
    ours = wiener(soft, kernel, eps=1e-4, norm="backward")
    powers = [torch.fft.rfft2(maps).abs() for maps in (printed, ours)]
    torch.testing.assert_close(*powers, rtol=1e-3, atol=1e-3)


def test_the_printed_form_is_ours_for_a_symmetric_kernel():
    signal = torch.randn(1, 2, 8, 9)
    half = torch.randn(1, 2, 8, 9)
    kernel = half + half.flip(-2, -1).roll((1, 1), (-2, -1))
    torch.testing.assert_close(wiener_as_printed(signal, kernel), wiener(signal, kernel))


def test_a_kernel_of_one_point_moves_the_signal_back():
    signal, kernel = torch.randn(1, 2, 7, 9), torch.zeros(1, 2, 7, 9)
    kernel[..., 2, 3] = 1
    found = wiener(signal, kernel, eps=1e-8, norm="backward")
    torch.testing.assert_close(found, signal.roll((-2, -3), (-2, -1)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [(16, 12), (44, 36), (128, 128)])
def test_ortho_spectra_of_unit_maps_have_unit_power_at_every_size(size):
    signal, kernel = torch.randn(2, 1, 32, *size)
    ortho = torch.fft.rfft2(kernel, norm="ortho").abs().square().mean()
    assert ortho.item() == pytest.approx(1, abs=0.1)
    damped = wiener(signal, kernel, eps=1.0).square().mean()
    assert damped.item() == pytest.approx(0.19, abs=0.03)  # 2 E[p / (p + 1)^2], whatever the size
    backward = wiener(signal, kernel, eps=1.0, norm="backward").square().mean()
    assert backward.item() != pytest.approx(0.19, abs=0.03)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("size", [(4, 6), (5, 7), (3, 2), (1, 1)])
def test_the_gradients_are_those_of_finite_differences(size, norm):
    maps = [torch.randn(2, 1, *size, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    assert torch.autograd.gradcheck(lambda *given: wiener(*given, eps=0.1, norm=norm), maps)


@pytest.mark.parametrize("form", [wiener, wiener_as_printed])
def test_one_input_alone_gets_its_own_gradient(form):
    maps = [torch.randn(1, 2, 6, 5, requires_grad=True) for _ in range(2)]
    weight = torch.randn(1, 2, 6, 5)
    both = torch.autograd.grad((form(*maps) * weight).sum(), maps)
    first = torch.autograd.grad((form(maps[0], maps[1].detach()) * weight).sum(), maps[0])[0]
    second = torch.autograd.grad((form(maps[0].detach(), maps[1]) * weight).sum(), maps[1])[0]
    torch.testing.assert_close((first, second), both)


def test_the_backward_pass_gives_the_same_every_time_and_leaves_the_gradient_alone():
    maps = [torch.randn(1, 2, 6, 5, requires_grad=True) for _ in range(2)]
    out, grad = wiener(*maps), torch.randn(1, 2, 6, 5)
    before = grad.clone()
    first = torch.autograd.grad(out, maps, grad, retain_graph=True)
    torch.testing.assert_close(torch.autograd.grad(out, maps, grad), first, rtol=0, atol=0)
    assert torch.equal(grad, before)


def test_a_second_derivative_is_refused():
    maps = [torch.randn(1, 1, 4, 4, requires_grad=True) for _ in range(2)]
    slope = torch.autograd.grad(wiener(*maps).square().sum(), maps, create_graph=True)[0]
    with pytest.raises(RuntimeError, match="twice"):
        slope.sum().backward()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_keeps_its_type_and_is_transformed_in_single(dtype):
    signal, kernel = (20 * torch.randn(2, 1, 2, 33, 31)).to(dtype)
    found = wiener(signal, kernel)
    assert found.dtype == dtype
    torch.testing.assert_close(found, wiener(signal.float(), kernel.float()).to(dtype))


def test_autocast_changes_nothing():
    maps = [torch.randn(1, 2, 8, 6, requires_grad=True) for _ in range(2)]
    plain = torch.autograd.grad(wiener(*maps).square().sum(), maps)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = torch.autograd.grad(wiener(*maps).square().sum(), maps)
        assert FFTOperator(4)(torch.randn(1, 4, 8, 6)).isfinite().all()
    torch.testing.assert_close(found, plain)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"eps": 0.0}, "eps must be positive.*got 0.0"),
        ({"eps": float("nan")}, "eps must be positive.*got nan"),
        ({"norm": "orthogonal"}, "norm must be one of.*got 'orthogonal'"),
    ],
)
@pytest.mark.parametrize("form", [wiener, wiener_as_printed])
def test_settings_out_of_range_are_refused(form, settings, message):
    with pytest.raises(ValueError, match=message):
        form(torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 4, 4), **settings)


def test_maps_of_two_shapes_are_refused(unchecked_types):
    with pytest.raises(ValueError, match="one shape"):
        wiener(torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 4, 5))


def test_a_silent_kernel_gives_zero_and_not_infinity():
    assert not wiener(torch.randn(1, 1, 5, 5), torch.zeros(1, 1, 5, 5)).any()


def test_the_operator_is_wiener_between_the_two_halves():
    operator, x = FFTOperator(6), torch.randn(2, 6, 9, 7)
    signal = F.conv2d(x[:, :3], operator.signal.weight, operator.signal.bias, padding=1)
    kernel = F.conv2d(x[:, 3:], operator.kernel.weight, operator.kernel.bias, padding=1)
    out = F.conv2d(
        by_complex_transforms(signal, kernel), operator.project.weight, operator.project.bias
    )
    torch.testing.assert_close(operator(x), out, rtol=1e-4, atol=1e-5)


def test_every_parameter_of_the_operator_learns():
    operator = FFTOperator(4)
    operator(torch.randn(2, 4, 8, 8)).square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in operator.parameters())


@pytest.mark.parametrize("channels", [0, 1, 7])
def test_the_operator_refuses_channels_without_two_halves(channels):
    with pytest.raises(ValueError, match=f"even.*got {channels}"):
        FFTOperator(channels)


@pytest.mark.filterwarnings("ignore:.*should not be instantiated.*")  # torch's own doing
def test_it_compiles_to_the_same_numbers_and_gradients(unchecked_types):
    maps = [torch.randn(1, 2, 8, 6, requires_grad=True) for _ in range(2)]
    compiled = torch.compile(wiener, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(*maps), wiener(*maps))
    found = torch.autograd.grad(compiled(*maps).square().sum(), maps)
    torch.testing.assert_close(found, torch.autograd.grad(wiener(*maps).square().sum(), maps))


def test_the_operator_exports_for_any_size(unchecked_types):
    operator = FFTOperator(4).eval()
    size = {2: torch.export.Dim("h", min=2), 3: torch.export.Dim("w", min=2)}
    given = (torch.randn(1, 4, 8, 8),)
    exported = torch.export.export(operator, given, dynamic_shapes=(size,)).module()
    other = torch.randn(1, 4, 6, 11)
    torch.testing.assert_close(exported(other), operator(other))


@pytest.mark.parametrize("norm", NORMS)
def test_the_exported_form_is_the_same_equation_in_every_norm(norm, unchecked_types):
    class Sharpened(torch.nn.Module):
        def forward(self, signal, kernel):
            return wiener(signal, kernel, 0.1, norm)

    size = {2: torch.export.Dim("h", min=2), 3: torch.export.Dim("w", min=2)}
    given = torch.randn(2, 1, 3, 8, 10).unbind()
    program = torch.export.export(Sharpened(), given, dynamic_shapes=(size, size))
    assert not [node for node in program.graph.nodes if "fft" in str(node.target)]
    for sides in ((7, 13), (64, 9)):
        maps = torch.randn(2, 1, 3, *sides).unbind()
        wanted = by_complex_transforms(*maps, 0.1, norm)
        torch.testing.assert_close(program.module()(*maps), wanted, rtol=1e-4, atol=1e-5)
