import csv
from pathlib import Path

from lightning_modules.loggers import CsvMetrics


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def log(folder: Path, first: int, last: int, logger: CsvMetrics | None = None) -> None:
    logger = logger or CsvMetrics(str(folder))
    for step in range(first, last + 1):
        logger.log_metrics({"train/loss": 1 / step}, step)
        if step % 3 == 0:
            logger.log_metrics({"val/psnr": 30.0 + step}, step)
        logger.save()


def test_metrics_of_one_step_share_a_row_and_new_columns_are_added(tmp_path: Path) -> None:
    log(tmp_path, 1, 4)
    table = rows(tmp_path)
    assert [row["step"] for row in table] == ["1", "2", "3", "4"]
    assert [row["val/psnr"] for row in table] == ["", "", "33.0", ""]


def test_numbers_are_written_exactly(tmp_path: Path) -> None:
    log(tmp_path, 1, 3)
    assert float(rows(tmp_path)[2]["train/loss"]) == 1 / 3


def test_an_interrupted_file_goes_on_as_if_nothing_had_happened(tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    log(whole, 1, 10)
    log(broken, 1, 8)
    resumed = CsvMetrics(str(broken))
    resumed.forget_after(5)
    log(broken, 6, 10, resumed)
    assert (whole / "metrics.csv").read_bytes() == (broken / "metrics.csv").read_bytes()


def test_nothing_is_forgotten_where_there_is_no_file(tmp_path: Path) -> None:
    CsvMetrics(str(tmp_path)).forget_after(5)
    assert not (tmp_path / "metrics.csv").exists()


def test_a_row_cut_short_by_a_kill_is_written_again(tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    log(whole, 1, 14)
    log(broken, 1, 13)
    path = broken / "metrics.csv"
    path.write_text(path.read_text() + "1")  # the beginning of "14,..."
    resumed = CsvMetrics(str(broken))
    resumed.forget_after(13)
    log(broken, 14, 14, resumed)
    assert (whole / "metrics.csv").read_bytes() == (broken / "metrics.csv").read_bytes()
