import cv2
import pytest
import torch
import torch.nn.functional as F

from ops.kernels.component import ComponentBasis, PatchPCA
from ops.kernels.scales import ScaleMeter, Scales, common_scale, eigenvalue_scales
from ops.kernels.whitening import Maps, Whitened

MODES = ["per_channel", "joint_rgb"]
WAYS = [Whitened, Maps]


def discrepancies(*shape):
    """Maps like those of an edit: a change of tone all over and lost detail, colours related."""
    b, c, h, w = shape
    noise = torch.randn(b, 1, h + 16, w + 16) + 0.3 * torch.randn(b, c, h + 16, w + 16)
    smooth = F.avg_pool2d(F.avg_pool2d(noise, 9, 1), 9, 1)
    detail = F.avg_pool2d(noise, 2, 1)[:, :, 7 : 7 + h, 7 : 7 + w]
    return 0.05 + 0.3 * smooth + 0.01 * detail + 0.002 * torch.randn(b, c, h, w)


def measured(basis, maps, dedicated=7):
    meter = ScaleMeter(basis.patch_size, basis.mode)
    meter.update(maps)
    return meter.scales(basis, dedicated)


def parts_of(mode="per_channel", patch_size=5, dedicated=3):
    maps = discrepancies(4, 3, 48, 40)
    pca = PatchPCA(patch_size, mode)
    pca.update(maps)
    basis = pca.basis()
    return basis, measured(basis, maps, dedicated)


def relative_error(found, expected):
    return float((found - expected).double().norm() / expected.double().norm())


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dedicated", [0, 1, 7, 24])
@pytest.mark.parametrize(("h", "w"), [(48, 48), (7, 10), (1, 1)])
def test_what_was_cut_is_put_together_again(mode, way, dedicated, h, w):
    basis, scales = parts_of(mode, 5, dedicated)
    heads, discrepancy = way(basis, dedicated, scales), discrepancies(2, 3, h, w)
    targets = heads.targets(discrepancy)
    assert tuple(target.shape[1] for target in targets) == heads.channels
    assert relative_error(heads.assemble(targets), discrepancy) < 1e-5


@pytest.mark.parametrize("scale", [eigenvalue_scales, common_scale])
@pytest.mark.parametrize("way", WAYS)
def test_any_scales_come_back(scale, way):
    basis, _ = parts_of()
    heads, discrepancy = way(basis, 7, scale(basis)), discrepancies(1, 3, 30, 31)
    assert relative_error(heads.assemble(heads.targets(discrepancy)), discrepancy) < 1e-5


@pytest.mark.parametrize("mode", MODES)
def test_patches_of_the_papers_size_come_back(mode):
    basis, scales = parts_of(mode, 11, 7)
    heads, discrepancy = Whitened(basis, 7, scales), discrepancies(1, 3, 48, 48)
    assert relative_error(heads.assemble(heads.targets(discrepancy)), discrepancy) < 1e-5


@pytest.mark.parametrize("way", WAYS)
def test_the_targets_of_dedicated_heads_are_the_scaled_components(way):
    basis, scales = parts_of()
    discrepancy = discrepancies(2, 3, 20, 17)
    targets = way(basis, 3, scales).targets(discrepancy)
    for i, part in enumerate(basis.decompose(discrepancy, [[0], [1], [2]])):
        torch.testing.assert_close(targets[i], part / scales.components[i], rtol=1e-4, atol=1e-4)


def test_maps_of_the_last_head_are_ordered_by_component_then_colour():
    basis, scales = parts_of()
    discrepancy = discrepancies(1, 3, 20, 17)
    *_, last = Maps(basis, 3, scales).targets(discrepancy)
    (part,) = basis.decompose(discrepancy, [[5]])
    torch.testing.assert_close(last[:, 6:9], part / scales.components[5], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("mode", "tolerance"), [("per_channel", 0.1), ("joint_rgb", 0.15)])
def test_the_whitened_map_is_nearly_the_sum_of_the_scaled_components(mode, tolerance):
    basis, scales = parts_of(mode, 7, 3)
    discrepancy = discrepancies(1, 3, 48, 48)
    *_, found = Whitened(basis, 3, scales).targets(discrepancy)
    remaining = range(3, basis.count)
    parts = basis.decompose(discrepancy, [[i] for i in remaining])
    literal = sum(part / scales.components[i] for i, part in zip(remaining, parts, strict=True))
    inside = (..., slice(8, -8), slice(8, -8))
    assert relative_error(found[inside], literal[inside] / scales.rest) < tolerance


def real_discrepancies(folder):
    """What a smoothing filter and a curve take from photographs of faces."""
    maps = []
    for path in sorted(folder.rglob("*.jpg"))[:4]:
        image = cv2.resize(cv2.imread(str(path)), (160, 160), interpolation=cv2.INTER_AREA)
        edited = cv2.bilateralFilter(image, 9, 40, 7) / 255
        maps.append(torch.from_numpy(image / 255 - edited**0.8).movedim(-1, 0).float())
    return torch.stack(maps)


def test_an_edit_of_photographs_comes_back_and_is_whitened_as_printed_inside(faces):
    maps = real_discrepancies(faces)
    pca = PatchPCA()
    pca.update(maps)
    basis = pca.basis()
    scales = measured(basis, maps)
    heads, edit = Whitened(basis, 7, scales), maps[:1, :, 40:112, 40:112].contiguous()
    *_, found = targets = heads.targets(edit)
    assert relative_error(heads.assemble(targets), edit) < 1e-5
    remaining = range(7, basis.count)
    parts = basis.decompose(edit, [[i] for i in remaining])
    literal = sum(part / scales.components[i] for i, part in zip(remaining, parts, strict=True))
    inside = (..., slice(12, -12), slice(12, -12))
    assert relative_error(found[inside], literal[inside] / scales.rest) < 0.08


def test_measured_scales_bring_every_target_to_the_size_1():
    maps = discrepancies(4, 3, 48, 40)
    pca = PatchPCA(5)
    pca.update(maps)
    basis = pca.basis()
    targets = Whitened(basis, 3, measured(basis, maps, 3)).targets(maps)
    sizes = torch.stack([target.square().mean().sqrt() for target in targets])
    torch.testing.assert_close(sizes[:3], torch.ones(3), rtol=1e-4, atol=0)
    assert 0.8 < float(sizes[3]) < 1.25


@pytest.mark.parametrize("way", WAYS)
def test_without_dedicated_heads_the_map_is_only_scaled(way):
    basis, scales = parts_of(dedicated=0)
    heads, discrepancy = way(basis, 0, scales), discrepancies(1, 3, 9, 8)
    (target,) = heads.targets(discrepancy)
    assert heads.channels == (3,)
    torch.testing.assert_close(target, discrepancy / scales.rest)


def test_with_one_scale_for_all_the_last_target_is_the_rest_by_that_scale():
    basis, _ = parts_of()
    discrepancy = discrepancies(1, 3, 20, 17)
    scales = common_scale(basis, 3)
    *_, target = Whitened(basis, 3, scales).targets(discrepancy)
    (rest,) = basis.decompose(discrepancy, [[*range(3, basis.count)]])
    torch.testing.assert_close(target * scales.components[0], rest, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("way", WAYS)
def test_assembling_is_linear_so_that_a_head_of_zeros_adds_nothing(way):
    basis, scales = parts_of()
    heads, discrepancy = way(basis, 3, scales), discrepancies(1, 3, 20, 17)
    targets = heads.targets(discrepancy)
    kept = [targets[0], *(torch.zeros_like(target) for target in targets[1:])]
    (first,) = basis.decompose(discrepancy, [[0]])
    torch.testing.assert_close(heads.assemble(kept), first, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("mode", MODES)
def test_saved_heads_assemble_without_their_basis(way, mode):
    heads = way(*reordered(parts_of(mode)))
    copy = way(ComponentBasis.empty(5, mode), 3, common_scale(ComponentBasis.empty(5, mode), 3))
    copy.load_state_dict(heads.state_dict())
    discrepancy = discrepancies(1, 3, 12, 13)
    targets = heads.targets(discrepancy)
    torch.testing.assert_close(copy.targets(discrepancy), targets, rtol=0, atol=0)
    assert torch.equal(copy.assemble(targets), heads.assemble(targets))


def reordered(parts):
    basis, scales = parts
    return basis, 3, scales


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_the_dtype_is_kept_and_autocast_changes_nothing(way, dtype):
    heads = way(*reordered(parts_of("joint_rgb")))
    discrepancy = discrepancies(1, 3, 16, 15).to(dtype)
    targets = heads.targets(discrepancy)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(heads.targets(discrepancy), targets, rtol=0, atol=0)
        cast = heads.assemble(targets)
    assert torch.equal(cast, heads.assemble(targets))
    assert {x.dtype for x in (cast, *targets)} == {dtype}
    tolerance = {torch.bfloat16: 2e-2, torch.float32: 1e-5, torch.float64: 1e-6}[dtype]
    assert relative_error(cast, discrepancy) < tolerance


@pytest.mark.parametrize("way", WAYS)
def test_no_discrepancies_have_targets_of_the_right_shapes(way):
    heads = way(*reordered(parts_of()))
    targets = heads.targets(torch.zeros(0, 3, 6, 7))
    assert [target.shape for target in targets] == [(0, c, 6, 7) for c in heads.channels]
    assert heads.assemble(targets).shape == (0, 3, 6, 7)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("way", WAYS)
def test_gradients_are_those_of_finite_differences(way, mode):
    heads = way(*reordered(parts_of(mode, 2, 3)))
    discrepancy = torch.randn(1, 3, 3, 2, dtype=torch.float64, requires_grad=True)
    targets = [target.detach().requires_grad_() for target in heads.targets(discrepancy)]
    assert torch.autograd.gradcheck(lambda x: tuple(heads.targets(x)), discrepancy)
    assert torch.autograd.gradcheck(lambda *x: heads.assemble(x), tuple(targets))


class Assembling(torch.nn.Module):
    def __init__(self, heads):
        super().__init__()
        self.heads = heads

    def forward(self, *outputs):
        return self.heads.assemble(outputs)


@pytest.mark.parametrize(
    ("way", "mode"), [(Whitened, "per_channel"), (Whitened, "joint_rgb"), (Maps, "per_channel")]
)
def test_exported_assembling_agrees_for_any_size(unchecked_types, way, mode):
    heads = way(*reordered(parts_of(mode, 3)))
    dims = {0: torch.export.Dim("b"), 2: torch.export.Dim("h"), 3: torch.export.Dim("w")}
    example, other = (
        tuple(torch.randn(b, c, h, w) for c in heads.channels) for b, h, w in ((2, 8, 9), (3, 4, 6))
    )
    shapes = {"outputs": (dims,) * len(example)}
    program = torch.export.export(Assembling(heads).eval(), example, dynamic_shapes=shapes)
    torch.testing.assert_close(program.module()(*other), heads.assemble(other))


BASIS = ComponentBasis.empty(2)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda way: way(BASIS, 4, common_scale(BASIS, 1)), "dedicated must be from 0 to 3, got 4"),
        (
            lambda way: way(BASIS, 1, Scales(torch.ones(3), 1.0, 0)),
            r"each of the 4 components, got shape \(3,\)",
        ),
        (
            lambda way: way(BASIS, 1, common_scale(BASIS, 1)).targets(torch.ones(1, 2, 4, 4)),
            "must have 3 channels, got 2",
        ),
        (
            lambda way: way(BASIS, 1, common_scale(BASIS, 1)).assemble([torch.ones(1, 3, 4, 4)]),
            r"outputs must have \(3, .\) channels, got \(3,\)",
        ),
    ],
)
def test_arguments_that_cannot_be_are_refused_by_value(way, call, message):
    with pytest.raises(ValueError, match=message):
        call(way)
