"""Moving average of a network's weights: the mean teacher's step."""

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


@torch.no_grad()
def update_moving_average(average: nn.Module, source: nn.Module, decay: float) -> None:
    r"""Nothing; moves `average` a step towards `source`, in place (RetouchFormer's mean teacher).

    .. math:: \bar\theta \leftarrow \mu \bar\theta + (1 - \mu) \theta

    Parameters and floating buffers alike, so a teacher's running statistics follow too; other
    buffers (counters) are copied. `source` is not changed and gets no gradient.

    `average` keeps its own dtype. It must be float32 even where `source` is bf16: at mu = 0.99
    most steps are smaller than a bf16 number's last digit and would be lost
    (`test_an_average_in_bf16_stops_short_of_its_source`).

    Args:
        average: the teacher.
        source: the student, of the same structure.
        decay: mu in [0, 1]; the paper uses 0.99.

    Raises:
        ValueError: if `decay` is not in [0, 1], or the two differ in the name or the shape of a
            parameter or buffer.
    """
    if not 0 <= decay <= 1:
        raise ValueError(f"decay must be in [0, 1], got {decay}")
    ours, theirs = _state(average), _state(source)
    _check_alike(ours, theirs)
    floating = [name for name, value in ours.items() if value.is_floating_point()]
    if floating:
        # torch's public form of the fused lerp; the last argument, its count of updates, is
        # not used by it.
        get_ema_multi_avg_fn(decay)(
            [ours[name] for name in floating],
            [theirs[name].to(ours[name]) for name in floating],
            0,
        )
    for name in ours.keys() - set(floating):
        ours[name].copy_(theirs[name])


def _state(module: nn.Module) -> dict[str, Tensor]:
    return dict(module.named_parameters()) | dict(module.named_buffers())


def _check_alike(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    if strange := sorted(ours.keys() ^ theirs.keys()):
        raise ValueError(
            f"average and source must have the same parameters and buffers, got {strange[0]} "
            "in only one of them"
        )
    for name, value in ours.items():
        if value.shape != theirs[name].shape:
            raise ValueError(
                f"{name} must have the same shape in both, got {tuple(value.shape)} in the average "
                f"and {tuple(theirs[name].shape)} in the source"
            )
