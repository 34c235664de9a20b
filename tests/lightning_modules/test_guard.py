from collections import deque

import pytest

from lightning_modules.guard import BatchSkipped, LossGuard, StoppedByLosses, exploded, outlying


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_loss_that_is_not_finite_is_skipped_from_the_first_batch(value: float) -> None:
    with pytest.raises(BatchSkipped, match="the loss of the generator is"):
        LossGuard().judge("generator", value)


def test_a_hundredfold_loss_is_skipped_and_not_remembered() -> None:
    guard = LossGuard()
    for _ in range(8):
        guard.judge("generator", 1.0)
    with pytest.raises(BatchSkipped):
        guard.judge("generator", 101.0)
    assert max(guard.history["generator"]) == 1.0


def test_a_loss_may_leave_zero() -> None:
    assert not exploded(0.9, deque([0.0] * 20))
    assert exploded(1.1, deque([0.0] * 20))


def test_outliers_are_judged_by_a_full_window_only() -> None:
    history = deque([1.0, 1.2] * 3, maxlen=8)
    assert not outlying(50.0, history)
    history.extend([1.0, 1.2])
    assert outlying(1.1 + 0.61, history)
    assert not outlying(1.1 + 0.59, history)


def test_a_lasting_change_of_level_does_not_end_the_run() -> None:
    guard, skipped = LossGuard(patience=10, window=16), 0
    for loss in [1.0 + 0.01 * (i % 3) for i in range(32)] + [5.0] * 32:
        try:
            guard.judge("discriminator", loss)
            guard.passed()
        except BatchSkipped as reason:
            skipped += 1
            guard.skip(str(reason))
    assert 1 <= skipped < 10


def test_ten_skipped_batches_in_a_row_stop_the_run_and_nine_do_not() -> None:
    guard = LossGuard()
    for _ in range(2):
        for _ in range(9):
            guard.skip("nan")
        guard.passed()
    for _ in range(9):
        guard.skip("nan")
    with pytest.raises(StoppedByLosses, match="10 batches in a row"):
        guard.skip("nan")
    assert guard.skipped == 28


def test_the_state_goes_round_a_checkpoint() -> None:
    guard, copy = LossGuard(window=4), LossGuard(window=4)
    for loss in (1.0, 2.0, 3.0, 4.0, 5.0):
        guard.judge("generator", loss)
    guard.skip("nan")
    copy.restore(guard.state())
    assert copy == guard
