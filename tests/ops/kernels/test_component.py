import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from ops.kernels.component import ComponentBasis, PatchPCA, apply_kernels, with_fixed_signs

MODES = ["per_channel", "joint_rgb"]


def smooth_maps(*shape):
    """Noise with the falling spectrum of pictures, around a mean that is not 0."""
    return F.avg_pool2d(torch.randn(shape), 3, 1, 1) + 0.3 * torch.randn(shape) + 0.2


def fitted(patch_size=5, mode="per_channel", maps=None):
    pca = PatchPCA(patch_size, mode)
    pca.update(smooth_maps(2, 3, 24, 20) if maps is None else maps)
    return pca.basis()


def by_convolution_pairs(basis, image, group):
    """Eq. 5 as printed: each component's convolution and its rotated one, "full" then "valid"."""
    m, planes = basis.patch_size, image
    if basis.mode == "per_channel":
        planes = image.flatten(0, 1).unsqueeze(1)
    total = torch.zeros_like(planes)
    for i in group:
        kappa = basis.vectors[i].to(image.dtype).view(1, -1, m, m)
        coefficients = F.conv2d(planes, kappa, padding=m - 1)
        total += F.conv_transpose2d(coefficients, kappa, padding=m - 1)
    return (total / m**2).reshape(image.shape)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("h", "w"), [(24, 31), (3, 2), (1, 1)])
def test_a_part_is_the_sum_of_the_printed_pairs_of_convolutions(mode, h, w):
    basis, image = fitted(mode=mode), smooth_maps(2, 3, h, w)
    groups = [[0], [3, 1], [*range(7, basis.count)]]
    for part, group in zip(basis.decompose(image, groups), groups, strict=True):
        expected = by_convolution_pairs(basis, image, group)
        torch.testing.assert_close(part, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("h", "w"), [(40, 33), (11, 12), (4, 7), (1, 1)])
def test_components_of_a_full_partition_sum_to_the_image_up_to_its_corners(mode, h, w):
    basis = ComponentBasis.empty(11, mode)
    basis.vectors.copy_(torch.linalg.qr(torch.randn(basis.count, basis.count)).Q)
    image = torch.rand(2, 3, h, w)
    groups = [*([i] for i in range(7)), [*range(7, basis.count)]]
    parts = basis.decompose(image, groups)
    assert len(parts) == 8
    torch.testing.assert_close(sum(parts), image, rtol=0, atol=1e-5)


@settings(max_examples=15, deadline=None)
@given(h=st.integers(1, 30), w=st.integers(1, 30), cut=st.integers(1, 24), seed=st.integers(0, 99))
def test_any_two_halves_of_the_components_sum_to_an_image_of_any_size(h, w, cut, seed):
    torch.manual_seed(seed)
    basis, image = fitted(), torch.randn(1, 3, h, w)
    order = torch.randperm(25).tolist()
    halves = basis.decompose(image, [order[:cut], order[cut:] or order[:1]])
    total = halves[0] + halves[1] if cut < 25 else halves[0]
    torch.testing.assert_close(total, image, rtol=0, atol=1e-5)


def test_the_basis_holds_the_eigenvectors_of_the_mean_square_of_patches():
    maps = smooth_maps(2, 3, 24, 20)
    basis = fitted(maps=maps)
    patches = F.unfold(maps.flatten(0, 1).unsqueeze(1).double(), 5).movedim(1, -1).flatten(0, 1)
    projected = patches @ basis.vectors.double().mT
    moment = projected.mT @ projected / len(patches)
    torch.testing.assert_close(moment.diagonal().float(), basis.eigenvalues, rtol=1e-5, atol=1e-7)
    assert (moment - moment.diag().diag()).abs().max() < 1e-6
    assert (basis.eigenvalues.diff() <= 0).all()
    torch.testing.assert_close(basis.vectors @ basis.vectors.mT, torch.eye(25))


@pytest.mark.parametrize("mode", MODES)
def test_energies_are_sums_of_squares_over_all_patches(mode):
    basis, maps = fitted(mode=mode), smooth_maps(2, 3, 9, 12)
    planes = maps.flatten(0, 1).unsqueeze(1) if mode == "per_channel" else maps
    patches = F.unfold(planes.double(), 5).movedim(1, -1).flatten(0, 1)
    expected = (patches @ basis.vectors.double().mT).square().sum(0)
    energies = basis.energies(maps)
    assert energies.dtype == torch.float64
    torch.testing.assert_close(energies, expected, rtol=1e-9, atol=0)


def test_two_fits_of_the_same_maps_agree_in_any_order_and_in_parts():
    maps = smooth_maps(6, 3, 20, 24)
    first, second, part = PatchPCA(5), PatchPCA(5), PatchPCA(5)
    first.update(maps)
    for image in maps[:2].split(1):
        part.update(image)
    second.update(maps[2:].flip(0))
    second.merge(part)
    torch.testing.assert_close(second.basis().vectors, first.basis().vectors, rtol=0, atol=1e-6)
    torch.testing.assert_close(second.basis().eigenvalues, first.basis().eigenvalues)


def test_a_fit_of_mirrored_maps_has_the_same_signs_as_a_second_one():
    # Components of such maps are odd or even: their largest entries tie with opposite signs.
    maps = smooth_maps(2, 1, 20, 20)
    maps = torch.cat([x for y in (maps, maps.flip(-1)) for x in (y, y.flip(-2))])
    agree = fitted(maps=maps).vectors[:5], fitted(maps=maps.flip(0)).vectors[:5]
    torch.testing.assert_close(*agree, rtol=0, atol=1e-5)


def test_the_first_of_the_largest_entries_is_positive():
    rows = torch.tensor([[0.1, -0.9, 0.9001, 0.0], [0.5, 0.2, -0.8, 0.79], [0.3, 0.2, 0.1, 0.0]])
    expected = rows * torch.tensor([[-1.0], [-1.0], [1.0]])
    assert torch.equal(with_fixed_signs(rows), expected)
    assert torch.equal(with_fixed_signs(-rows), expected)


def basis_in_parallel(rank):
    pca = PatchPCA(3)
    pca.update(torch.arange(3 * 8 * 9.0).view(1, 3, 8, 9).square().sin() * (rank + 1))
    pca.sum_over_ranks()
    return pca.basis().state_dict()


def test_two_processes_get_one_basis_bit_for_bit(two_processes):
    first, second = two_processes(basis_in_parallel)
    assert first.keys() == {"vectors", "eigenvalues"}
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_saved_basis_decomposes_as_before():
    basis, copy = fitted(mode="joint_rgb"), ComponentBasis.empty(5, "joint_rgb")
    copy.load_state_dict(basis.state_dict())
    image = torch.rand(1, 3, 8, 8)
    ours, theirs = (x.decompose(image, [[0, 2]])[0] for x in (basis, copy))
    assert torch.equal(ours, theirs)
    assert (copy.count, copy.channels) == (75, 3)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_the_dtype_is_kept_and_autocast_changes_nothing(dtype):
    basis, image = fitted(), torch.rand(1, 3, 9, 8).to(dtype)
    (plain,) = basis.decompose(image, [[0, 1]])
    with torch.autocast("cpu", torch.bfloat16):
        (cast,) = basis.decompose(image, [[0, 1]])
    assert plain.dtype == dtype
    assert torch.equal(plain, cast)
    expected = by_convolution_pairs(basis, image.double(), [0, 1])
    tolerance = {torch.bfloat16: 5e-3, torch.float32: 1e-6, torch.float64: 1e-12}[dtype]
    torch.testing.assert_close(plain.double(), expected, rtol=0, atol=tolerance)


def test_no_images_have_no_parts_but_keep_their_shape():
    parts = fitted().decompose(torch.zeros(0, 3, 6, 7), [[0], [1]])
    assert [part.shape for part in parts] == [(0, 3, 6, 7)] * 2


@pytest.mark.parametrize("mode", MODES)
def test_gradients_are_those_of_finite_differences(mode):
    basis = fitted(3, mode)
    image = torch.randn(1, 3, 4, 5, dtype=torch.float64, requires_grad=True)
    torch.autograd.gradcheck(lambda x: tuple(basis.decompose(x, [[0], [1, 2]])), image)


def test_a_kernel_with_its_origin_in_the_middle_moves_nothing():
    image, kernel = torch.rand(1, 3, 5, 6), torch.zeros(1, 1, 1, 7, 7)
    kernel[..., 3, 3] = 2
    torch.testing.assert_close(apply_kernels(image, kernel, "per_channel")[0], 2 * image)


def test_a_kernel_reads_from_its_second_channel_and_writes_to_its_first():
    image, kernel = torch.rand(1, 3, 5, 6), torch.zeros(1, 3, 3, 3, 3)
    kernel[0, 2, 0, 1, 2] = 1
    (moved,) = apply_kernels(image, kernel, "joint_rgb")
    expected = torch.zeros_like(image)
    expected[:, 2, :, 1:] = image[:, 0, :, :-1]
    torch.testing.assert_close(moved, expected)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda b: b.decompose(torch.ones(1, 3, 4, 4), [[]]), r"0 to 24, each once, got \[\]"),
        (lambda b: b.kernels([[0, 25]]), r"0 to 24, each once, got \[0, 25\]"),
        (lambda b: b.kernels([[-1]]), r"0 to 24, each once, got \[-1\]"),
        (lambda b: b.kernels([[1, 1]]), r"0 to 24, each once, got \[1, 1\]"),
        (lambda b: b.energies(torch.ones(1, 3, 4, 9)), r"patch_size .* \(4, 9\), got 5"),
        (lambda _: PatchPCA(5).basis(), "no patch was seen"),
        (lambda _: PatchPCA(0), "patch_size must be at least 1, got 0"),
        (lambda _: PatchPCA(3).update(torch.full((1, 1, 4, 4), torch.nan)), "must be finite"),
        (lambda _: PatchPCA(3).merge(PatchPCA(5)), "3 x 3 patches .* got 5 and per_channel"),
        (
            lambda b: ComponentBasis(b.vectors, b.eigenvalues, 11),
            r"need vectors \(121, 121\) and eigenvalues \(121,\), got \(25, 25\) and \(25,\)",
        ),
        (
            lambda _: fitted(mode="joint_rgb").decompose(torch.ones(1, 2, 9, 9), [[0]]),
            "maps of 3 channels, got 2",
        ),
    ],
)
def test_arguments_that_cannot_be_are_refused_by_value(call, message):
    with pytest.raises(ValueError, match=message):
        call(fitted())
