import dataclasses
import json
import sys
import time

import pytest

from benchmarks import timing
from benchmarks.__main__ import names, rows_in, table
from benchmarks.timing import Row, as_row, compare, environment, interleaved, summary


def test_the_cases_take_turns_after_a_round_that_is_not_counted():
    order = []
    times = interleaved({name: lambda name=name: order.append(name) for name in "ab"}, 3)
    assert "".join(order) == "ab" * 4
    assert [len(times[name]) for name in "ab"] == [3, 3]


def test_each_case_is_charged_its_own_time():
    now = iter([0, 9, 9, 9, 0, 1, 1, 3, 3, 5, 5, 9])
    times = interleaved({"a": lambda: None, "b": lambda: None}, 2, lambda: float(next(now)))
    assert times == {"a": [1, 2], "b": [2, 4]}


def test_waiting_costs_no_cpu_time():
    assert interleaved({"sleep": lambda: time.sleep(0.05)}, 1)["sleep"][0] < 0.02


def test_no_round_is_refused():
    with pytest.raises(ValueError, match="rounds must be at least 1, got 0"):
        interleaved({}, 0)


def test_a_row_has_the_median_and_the_distance_of_the_quartiles():
    assert summary("x", [1, 2, 3, 4, 100]) == Row("x", 3, 2)
    assert summary("x", [7]) == Row("x", 7)


def test_ratios_are_taken_against_the_baseline(monkeypatch):
    seconds = {"slow": [6.0, 8.0, 7.0], "fast": [2.0, 1.0, 3.0]}
    monkeypatch.setattr(timing, "interleaved", lambda *_: seconds)
    monkeypatch.setattr(timing, "peak_in_fresh_process", lambda _, case: len(case))
    slow, fast = compare("anything", dict.fromkeys(seconds, time.time), 3, "slow")
    assert slow == Row("slow", 7, 1, 4, 1, "slow")
    assert fast == Row("fast", 2, 1, 4, 3.5, "slow")


def test_an_unknown_baseline_is_refused():
    with pytest.raises(ValueError, match=r"one of \['a'\], got b"):
        compare("anything", {"a": time.time}, 1, "b")


def test_a_dictionary_becomes_a_row_and_its_further_keys_extras():
    row = as_row({"name": "faces", "median_s": 0.5, "faces per second": 20, "peak_mib": 3})
    assert row == Row("faces", 0.5, peak_mib=3, extras={"faces per second": 20})
    assert as_row(row) is row
    assert as_row(json.loads(json.dumps(dataclasses.asdict(row)))) == row


def test_a_dictionary_without_a_time_is_refused():
    with pytest.raises(ValueError, match=r"\['median_s'\] missing in"):
        as_row({"name": "faces"})


def test_a_table_has_a_column_for_every_extra_and_a_line_for_every_row():
    rows = [Row("a", 0.0015, 0.0001, 12.0, 2.0, "b"), Row("b", 0.003, extras={"faces": 20})]
    assert table(rows).splitlines() == [
        "| case | median ms | spread ms | times faster | than | extra peak MiB | faces |",
        "|---|---|---|---|---|---|---|",
        "| a | 1.5 | 0.1 | 2.00 | b | 12.0 |  |",
        "| b | 3 |  |  |  |  | 20 |",
    ]


def test_the_environments_differ_in_the_tuned_settings_only(monkeypatch):
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    monkeypatch.setenv("SOMETHING", "else")
    default, tuned = environment("default"), environment("tuned")
    assert default["SOMETHING"] == tuned["SOMETHING"] == "else"
    assert not timing.TUNED.keys() & default.keys()
    assert tuned == default | timing.TUNED


def test_an_unknown_environment_is_refused():
    with pytest.raises(ValueError, match=r"one of \['default', 'tuned'\], got fast"):
        environment("fast")


@pytest.mark.skipif(sys.platform != "linux", reason="peaks are read from Linux's /proc")
def test_the_peak_is_what_the_call_needs_beyond_its_set_up(tmp_path, monkeypatch):
    module = (
        "def cases(small=False):\n"
        "    kept = bytearray(80 * 2**20)\n"
        "    return {'x': lambda: bytearray(0 if small else 40 * 2**20)[-1:], 'kept': kept}\n"
    )
    (tmp_path / "allocating.py").write_text(module)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert 39 < timing.peak_in_fresh_process("allocating", "x") < 45


def test_a_failing_measurement_says_why():
    with pytest.raises(RuntimeError, match="No module named 'nowhere'"):
        timing.peak_in_fresh_process("nowhere", "x")


def test_every_benchmark_file_offers_run():
    assert {"quantize", "selective_attention", "settings"} <= set(names())


def test_a_failing_benchmark_stops_the_runner_with_its_name():
    with pytest.raises(SystemExit, match="benchmark nowhere failed in the tuned environment"):
        rows_in("nowhere", "tuned")
