import io

import numpy as np
import pytest
import torch
from PIL import Image

from datamodules.detection import Face
from datamodules.faces import ffhq_view
from datamodules.images import UnreadableImage
from datamodules.inbox import Crops
from datamodules.synthetic import draw_face
from experiments.studio import LONGEST, Studio, result
from lightning_modules.base import Restored
from lightning_modules.components import Cut
from lightning_modules.crn import ComponentRegression
from ops.nets.crn import CRN
from tests.datamodules.pictures import encoded
from tests.experiments.tiny import TinyTraining

POINTS = np.array([[28.0, 28], [36, 28], [32, 31], [29, 36], [35, 36]])


class Darker(TinyTraining):
    masked = True

    def restore(self, batch):
        if batch["image"].mean() < 0.02:
            raise ValueError("it is\ntoo dark")
        return Restored(batch["image"] * 0.5, torch.ones_like(batch["image"][:, :1]))


def drawn(folder, name="a.png", kind="PNG", **options):
    path = folder / name
    path.write_bytes(encoded(kind, draw_face(1, 0, 64).raw, **options))
    return path


def pixels_of(data):
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(float)


def test_the_change_of_a_crop_is_pasted_by_its_strength(tmp_path):
    finding = Studio(Darker(), Crops(ffhq_view(32))).find(drawn(tmp_path))
    before = draw_face(1, 0, 64).raw.astype(float)
    none, half, whole = (result(finding, share, 1) for share in (0, 0.5, 1))
    np.testing.assert_array_equal(none.before, before)
    np.testing.assert_array_equal(none.after, before)
    # at half the size, and so smoother than the photograph
    assert abs(whole.after.mean() - before.mean() / 2) < 1
    unclipped = whole.after > 0
    np.testing.assert_allclose(
        half.after[unclipped], ((before + whole.after) / 2)[unclipped], atol=1
    )
    assert unclipped.mean() > 0.99
    np.testing.assert_array_equal(pixels_of(whole.file), whole.after)
    assert whole.note.startswith("1 face changed in ")


def test_only_faces_are_changed_where_they_are_looked_for(tmp_path):
    crops = Crops(ffhq_view(32), lambda _: [Face(POINTS, (16.0, 16.0, 32.0, 32.0), 0.9)])
    finding = Studio(Darker(), crops).find(drawn(tmp_path))
    shown = result(finding, 1, 1)
    np.testing.assert_array_equal(shown.after[:10], shown.before[:10])
    assert shown.after[22:36, 25:40].mean() < 0.6 * shown.before[22:36, 25:40].mean()
    assert shown.faces.shape[1] > 2 * shown.faces.shape[0]  # before, after and the mask
    # all of a face is changed, so all of it glows as the hottest colour does
    assert finding.overlay[30, 32].astype(int) == pytest.approx([252, 255, 164], abs=3)
    np.testing.assert_array_equal(finding.overlay[:10], shown.before[:10])


def test_without_a_face_the_file_comes_back_to_the_byte(tmp_path):
    path = drawn(tmp_path, "a.jpg", "JPEG", quality=40)
    finding = Studio(Darker(), Crops(ffhq_view(32), lambda _: [])).find(path)
    shown = result(finding, 1, 1)
    assert shown.file == path.read_bytes()
    assert "No face was found" in shown.note
    assert shown.faces is None
    assert finding.overlay is None


def test_a_result_has_the_kind_and_metadata_of_the_input_and_is_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 3, "a camera"
    path = drawn(tmp_path, "a.jpg", "JPEG", exif=exif, quality=95)
    shown = result(Studio(Darker(), Crops(ffhq_view(32))).find(path), 0, 1)
    made = Image.open(io.BytesIO(shown.file))
    assert (made.format, made.getexif()[0x010F], made.getexif()[0x0112]) == ("JPEG", "a camera", 1)
    upside_down = draw_face(1, 0, 64).raw[::-1, ::-1].astype(float)
    assert abs(shown.before - upside_down).mean() < 6


def test_large_photographs_are_shown_smaller_and_kept_whole(tmp_path):
    path = tmp_path / "wide.png"
    Image.new("RGB", (2 * LONGEST, 64), "orange").save(path)
    crops = Crops(ffhq_view(32), lambda _: [Face(POINTS, (16.0, 16.0, 32.0, 32.0), 0.9)])
    shown = result(Studio(Darker(), crops).find(path), 1, 1)
    assert shown.before.shape == shown.after.shape == (32, LONGEST, 3)
    assert pixels_of(shown.file).shape == (64, 2 * LONGEST, 3)


def test_components_of_an_edit_are_taken_back_one_by_one(tmp_path):
    cut = Cut(dedicated=2, patch_size=3)
    network = CRN(cut.unfitted()[1].channels, width=4, shrink=2, expand=4, mapping=1, trunk=1)
    method = ComponentRegression(network, cut).eval().requires_grad_(False)
    basis, scales = cut.fit([0.1 * torch.randn(2, 3, 32, 32)], "cpu")
    method.heads.load_state_dict(cut.heads(basis, scales).state_dict())
    studio = Studio(method, Crops(ffhq_view(32)))
    assert studio.components == len(network.heads) > 2
    finding = studio.find(drawn(tmp_path))
    image = torch.from_numpy(draw_face(1, 0, 64).raw).permute(2, 0, 1)[None] / 255
    seen = torch.nn.functional.avg_pool2d(image, 2)
    first = method.restore_with_first(seen, [1])[0] - seen
    np.testing.assert_allclose(finding.parts[0][0], first[0].permute(1, 2, 0), atol=0.01)
    assert len(finding.parts) == studio.components
    assert abs(finding.parts[-1][0] - finding.parts[0][0]).max() > 1e-4
    with pytest.raises(ValueError, match=rf"components must be 1 to {studio.components}, got 0"):
        result(finding, 1, 0)
    without = ComponentRegression(network, cut, discrepancy=False)
    assert Studio(without, Crops(ffhq_view(32))).components == 1


def test_a_strength_outside_its_range_is_refused(tmp_path):
    finding = Studio(Darker(), Crops(ffhq_view(32))).find(drawn(tmp_path))
    with pytest.raises(ValueError, match=r"strength must be in \[0, 1\], got 2"):
        result(finding, 2, 1)
    with pytest.raises(ValueError, match=r"components must be 1 to 1, got 2"):
        result(finding, 1, 2)


def test_what_is_no_photograph_is_told_by_its_name_alone(tmp_path):
    studio = Studio(Darker(), Crops(ffhq_view(32)), pixels=64 * 64)
    Image.new("RGB", (65, 64)).save(tmp_path / "large.png")
    Image.new("RGB", (65, 64)).save(tmp_path / "large.jpg")
    Image.new("RGB", (64, 32)).save(tmp_path / "wide.png")
    Image.new("RGB", (64, 64)).save(tmp_path / "dark.png")
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "clip.mp4").write_bytes(b"")
    for name, reason in (
        ("large.png", "is 65 x 64, above 4096 pixels in all"),
        ("large.jpg", "is 65 x 64, above 4096 pixels in all"),
        (
            "wide.png",
            "is 64 x 32, and an aligned picture has the shape of 32 x 32 (width x height)",
        ),
        ("dark.png", "cannot be restored: it is too dark"),
        ("text.png", "is not a PNG, JPEG, WebP or TIFF picture"),
        ("clip.mp4", "is not a PNG, JPEG, WebP or TIFF picture"),
        ("none.png", "is missing"),
    ):
        with pytest.raises(UnreadableImage) as told:
            studio.find(tmp_path / name)
        assert str(told.value) == f"{name}: {reason}"
