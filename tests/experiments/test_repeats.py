import math
from pathlib import Path

import pytest
import yaml

from experiments.repeats import (
    IMMATERIAL,
    Run,
    as_told,
    chain,
    differing,
    find_runs,
    mean,
    own_settings,
    repeats_of,
    spread,
)
from tests.experiments.made_up import MINE, write_run


def found(base: Path) -> list[Run]:
    runs, left_out = find_runs(base)
    assert left_out == {}
    return runs


def test_runs_that_differ_in_the_seed_alone_are_one_group(runs: Path):
    for seed in (2, 0, 1):
        write_run(runs / f"run{seed}", "full", seed, {"psnr": 30.0 + seed})
    groups, doubled = repeats_of(found(runs))
    assert [group.seeds for group in groups] == [[0, 1, 2]]
    assert groups[0].values("psnr") == {0: 30.0, 1: 31.0, 2: 32.0}
    assert doubled == {}


@pytest.mark.parametrize(
    "over",
    [
        MINE,
        {"data.init_args.size": 64},
        {"max_batches": 9},
        {"model.init_args.width": 8},
        {"trainer.devices": 2},
        {"trainer.precision": "bf16-mixed"},
        {"data.init_args.seed": 7},  # not the run's
    ],
)
def test_runs_with_other_settings_are_never_one_group(runs: Path, over: dict[str, object]):
    write_run(runs / "a", "full", 0)
    write_run(runs / "b", "full", 1, over=over)
    assert [group.seeds for group in repeats_of(found(runs))[0]] == [[0], [1]]


def test_runs_tested_on_another_number_of_images_are_never_one_group(runs: Path):
    write_run(runs / "a", "full", 0)
    write_run(runs / "b", "full", 1, n=59)
    assert len(repeats_of(found(runs))[0]) == 2


def test_settings_that_change_no_number_do_not_part_runs(runs: Path):
    write_run(runs / "a", "full", 0)
    write_run(runs / "b", "full", 1, over=dict.fromkeys(IMMATERIAL, 3))
    write_run(runs / "c", "full", 2, over={"data.init_args.seed": 2})  # the run's own seed
    assert [group.seeds for group in repeats_of(found(runs))[0]] == [[0, 1, 2]]


def test_a_seed_that_was_run_twice_counts_once(runs: Path):
    write_run(runs / "a", "full", 0, {"psnr": 30.0})
    write_run(runs / "b", "full", 0, {"psnr": 99.0})
    groups, doubled = repeats_of(found(runs))
    assert groups[0].values("psnr") == {0: 30.0}
    assert doubled == {runs / "b": runs / "a"}


def test_a_run_tested_otherwise_than_trained_is_of_the_settings_of_its_test(runs: Path):
    write_run(runs / "a", "full", 0)
    tested = write_run(runs / "b", "full", 1)
    config = yaml.safe_load((tested / "config.yaml").read_text())
    scored = {"checkpoint": "last.ckpt"} | config | {"seed_everything": 5}
    (tested / "results.yaml").write_text(yaml.safe_dump(scored))
    assert [group.seeds for group in repeats_of(found(runs))[0]] == [[0, 1]]
    (tested / "results.yaml").write_text(yaml.safe_dump(scored | {"checkpoint": "best.ckpt"}))
    assert [group.seeds for group in repeats_of(found(runs))[0]] == [[0], [1]]


def test_what_is_no_finished_run_is_left_out_with_the_reason(runs: Path):
    write_run(runs / "good", "full", 0)
    (write_run(runs / "half", "full", 1) / "results.csv").unlink()
    (write_run(runs / "foreign", "full", 1) / "config.yaml").unlink()
    (write_run(runs / "broken", "full", 1) / "config.yaml").write_text("a: [1")
    (write_run(runs / "empty", "full", 1) / "results.csv").write_text("a,b\n1,2\n")
    (write_run(runs / "seedless", "full", 1) / "config.yaml").write_text("max_batches: 8\n")
    kept, left_out = find_runs(runs)
    assert [run.folder.name for run in kept] == ["good"]
    assert left_out["half"] == "no results.csv: not finished, or not tested"
    assert left_out["foreign"] == "no config.yaml: its settings are unknown"
    assert "cannot be read as YAML" in left_out["broken"]
    assert left_out["empty"] == "results.csv is no table of this suite"
    assert left_out["seedless"] == "config.yaml tells no seed_everything"


def test_runs_of_a_sweep_are_found_a_folder_deeper_and_join_the_others(runs: Path):
    write_run(runs / "full_demo", "full", 0)
    write_run(runs / "full_demo_2" / "local-0123456789", "full", 1)
    assert [group.seeds for group in repeats_of(found(runs))[0]] == [[0, 1]]


def test_a_run_without_a_commit_is_a_run(runs: Path):
    (write_run(runs / "a", "full", 0) / "environment.json").unlink()
    write_run(runs / "b", "full", 1)
    assert [run.commit for run in found(runs)] == ["", "0123456"]


def test_own_settings_are_those_that_neither_files_nor_data_tell(runs: Path):
    data = MINE | {"max_batches": 9}
    write_run(runs / "a", "full", 0)
    write_run(runs / "b", "full", 0, over={"model.init_args.width": 8, **data})
    write_run(runs / "c", "full", 1, over={"model.init_args.depth": 3})  # a default, in no file
    a, b, c = repeats_of(found(runs))[0]
    assert own_settings(b, [b]) == {"model.init_args.width": 8}
    assert own_settings(a, [a, c]) == {"model.init_args.depth": None}
    assert own_settings(c, [a, c]) == {"model.init_args.depth": 3}
    assert own_settings(a, [a]) == {}


def test_what_was_measured_beside_tells_groups_apart_on_the_same_data_alone(runs: Path):
    judged = {"model.init_args.measures.lpips": "a.pth"}
    write_run(runs / "a", "full", 0)
    write_run(runs / "b", "full", 0, over=judged)
    write_run(runs / "c", "full", 0, over=MINE | judged)
    plain, there, elsewhere = repeats_of(found(runs))[0]
    assert own_settings(there, [plain, elsewhere]) == judged
    assert own_settings(elsewhere, [plain]) == {}


def test_an_unknown_experiment_has_no_files(runs: Path):
    assert runs.parent.is_dir()
    assert chain("never_shipped", "demo") == {}
    assert chain("plain", "published")["model.init_args.width"] == 1


def test_a_missing_setting_is_one_that_is_null():
    assert differing({"a": 1, "b": None}, {"a": 2, "c": None}) == {"a"}


def test_mean_and_spread_hide_nothing_that_is_no_number():
    assert mean([1.0, 2.0, 6.0]) == 3.0
    assert spread([1.0, 2.0, 6.0]) == pytest.approx(math.sqrt(7))
    assert spread([1.0]) is None
    assert math.isnan(mean([1.0, math.nan]))
    assert spread([1.0, math.nan]) is None


def test_defaults_that_a_file_leaves_out_make_no_other_setting():
    told = [{"name": "a", "weight": 2.0}, {"name": "b"}]
    assert as_told(told, [{"name": "a", "weight": 2.0}, {"name": "b", "weight": 1.0}])
    assert not as_told(told, [{"name": "a", "weight": 3.0}, {"name": "b", "weight": 1.0}])
    assert not as_told(told, [{"name": "a", "weight": 2.0}])
    assert not as_told(told, None)


def test_a_test_on_other_data_is_a_result_of_its_own(runs: Path):
    trained = write_run(runs / "a", "full", 3)
    scored = write_run(trained / "on_other", "full", 0, over={"data.class_path": "some.Other"})
    (scored / "config.yaml").rename(scored / "results.yaml")
    (scored / "environment.json").unlink()
    found, left_out = find_runs(runs)
    assert [(run.folder.name, run.seed, run.commit) for run in found] == [
        ("a", 3, "0123456"),
        ("on_other", 3, "0123456"),
    ]
    assert found[1].settings["data.class_path"] == "some.Other"
    assert not left_out


def test_a_run_may_be_called_as_a_test_on_other_data_is(runs: Path):
    write_run(runs / "on_mine", "full", 0)
    assert [run.folder.name for run in find_runs(runs)[0]] == ["on_mine"]
