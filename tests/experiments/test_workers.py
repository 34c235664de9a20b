import os

import pytest

from experiments.workers import each


def square(number: int) -> int:
    return number * number


def process(_: int) -> int:
    return os.getpid()


def test_results_come_in_the_order_of_the_items_whatever_the_processes():
    assert list(each(square, [3, 1, 2], 1, "squaring")) == [9, 1, 4]
    assert list(each(square, range(9), 2, "squaring")) == [n * n for n in range(9)]


def test_one_worker_is_this_process():
    assert set(each(process, [1, 2], 1, "asking")) == {os.getpid()}


def test_nothing_to_do_is_no_bar(capsys: pytest.CaptureFixture[str]):
    assert list(each(square, [], 2, "squaring")) == []
    assert capsys.readouterr().err == ""
    assert list(each(square, [2], 2, "squaring")) == [4]
    assert "squaring" in capsys.readouterr().err
