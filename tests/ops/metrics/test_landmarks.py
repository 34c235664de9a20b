import pytest
import torch

from ops.metrics.landmarks import LandmarkError, interocular_distance, landmark_error

EYES = ((0, 1), (2, 3))


def faces(count=5):
    generator = torch.Generator().manual_seed(0)
    target = 100 * torch.rand(count, 6, 2, generator=generator)
    return target + torch.randn(count, 6, 2, generator=generator), target


def test_a_face_that_is_moved_is_wrong_by_how_far_it_was_moved():
    _, target = faces()
    moved = target + torch.tensor([3.0, 4.0])
    torch.testing.assert_close(landmark_error(moved, target), torch.full((5,), 5.0))
    half = target.clone()
    half[:, :3] += torch.tensor([0.0, 2.0])
    torch.testing.assert_close(landmark_error(half, target), torch.full((5,), 1.0))


def test_eyes_are_as_far_apart_as_their_middles():
    points = torch.tensor([[[10.0, 20], [20, 20], [45, 58], [45, 62], [0, 0]]])
    assert interocular_distance(points, *EYES).tolist() == [50]


def test_by_the_eyes_the_size_of_the_image_does_not_matter():
    output, target = faces()
    pixels, share, larger = LandmarkError(), LandmarkError(EYES), LandmarkError(EYES)
    pixels.update(output, target)
    share.update(output, target)
    larger.update(4 * output, 4 * target)
    torch.testing.assert_close(larger.compute(), share.compute())
    torch.testing.assert_close(pixels.compute(), landmark_error(output, target).double().mean())
    expected = landmark_error(output, target) / interocular_distance(target, *EYES)
    torch.testing.assert_close(share.compute(), expected.double().mean())


def test_faces_that_were_not_found_are_counted_and_left_out():
    output, target = faces()
    output[1], target[3, 2] = torch.nan, torch.nan
    metric = LandmarkError(EYES)
    metric.update(output, target)
    assert (metric.missed(), int(metric.faces)) == (2, 3)
    rest = LandmarkError(EYES)
    rest.update(output[[0, 2, 4]], target[[0, 2, 4]])
    assert metric.compute() == rest.compute()
    none = LandmarkError()
    none.update(output[1:2], target[1:2])
    assert none.compute().isnan()


def test_what_does_not_fit_is_refused(unchecked_types):
    output, target = faces()
    with pytest.raises(ValueError, match=r"one shape, got \(5, 6, 2\) and \(5, 5, 2\)"):
        landmark_error(output, target[:, :5])
    for left, right in (((0,), (6,)), ((), (1,)), ((-1,), (1,))):
        with pytest.raises(ValueError, match="must be among 6"):
            interocular_distance(target, left, right)


def error_of_a_rank(rank):
    output, target = faces()
    output[4] = torch.nan
    part = (slice(0, 2), slice(2, 5))[rank]
    metric = LandmarkError(EYES)
    metric.update(output[part], target[part])
    return metric.compute(), metric.missed()


def test_two_processes_give_what_one_gives(two_processes):
    output, target = faces()
    whole = LandmarkError(EYES)
    whole.update(output[:4], target[:4])
    for found, missed in two_processes(error_of_a_rank):
        torch.testing.assert_close(found, whole.compute(), rtol=1e-12, atol=0)
        assert missed == 1
