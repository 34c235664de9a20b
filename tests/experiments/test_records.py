import csv
import json

from datamodules.inbox import Entry
from experiments.records import (
    Record,
    add_record,
    begun,
    finished,
    join_records,
    read_records,
    refusal,
    write_summary,
)


def test_the_newest_record_of_a_file_counts_and_cut_lines_do_not(tmp_path):
    lines = [json.dumps(vars(Record("a", "k", faces=n, when=n))) for n in (1, 3, 2)]
    (tmp_path / "outbox.jsonl").write_text("\n".join(lines[:1]))
    (tmp_path / "outbox_0.jsonl").write_text("\n".join(lines[1:]) + '\n{"file": "b", "k')
    records = read_records(tmp_path)
    assert list(records) == ["a"]
    assert records["a"].faces == 3


def test_a_record_is_not_lost_behind_a_line_that_was_cut_short(tmp_path):
    add_record(tmp_path, 0, Record("a", "k"))
    with (tmp_path / "outbox_0.jsonl").open("a") as file:
        file.write('{"file": "b", "k')  # as a full disk leaves it
    for name in "cd":
        add_record(tmp_path, 0, Record(name, "k", failure="is empty"))
    assert sorted(read_records(tmp_path)) == ["a", "c", "d"]


def test_the_records_of_all_processes_become_one(tmp_path):
    for rank, name in enumerate("ab"):
        line = json.dumps(vars(Record(name, "k")))
        (tmp_path / f"outbox_{rank}.jsonl").write_text(line)
    join_records(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["outbox.jsonl"]
    assert sorted(read_records(tmp_path)) == ["a", "b"]


def test_the_summary_has_a_line_a_file(tmp_path):
    records = [
        Record(
            "a.png",
            "k",
            faces=2,
            seconds=1.234,
            likeness=0.51239,
            note="CMYK became RGB",
            source="/in/a.png",
        ),
        Record("not_utf8_\udcff.png", "k", failure="is empty (0 bytes)"),
    ]
    write_summary(tmp_path, records)
    with (tmp_path / "summary.csv").open(errors="surrogateescape", newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[0] == {
        "file": "a.png",
        "faces": "2",
        "seconds": "1.23",
        "identity": "0.5124",
        "note": "CMYK became RGB",
        "source": "/in/a.png",
    }
    assert rows[1]["note"] == "failed: is empty (0 bytes)"


def test_a_result_of_another_file_is_not_replaced(tmp_path):
    for name in ("one/a.png", "two/a.png"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(b"same")
    one, two = (Entry(tmp_path / name / "a.png", "a.png") for name in ("one", "two"))
    out = tmp_path / "out"
    out.mkdir()
    assert refusal(one, None, out) == ""
    (out / "a.png").write_bytes(b"result")
    assert "was not written by restore" in refusal(one, None, out)
    add_record(out, 0, begun(one, "k", ""))
    record = read_records(out)["a.png"]
    assert finished(one, record, "k", out)
    assert refusal(one, record, out) == ""
    assert f"was made from {one.path.resolve()}" in refusal(two, record, out)
    (tmp_path / "link").symlink_to(tmp_path / "one")
    assert refusal(Entry(tmp_path / "link" / "a.png", "a.png"), record, out) == ""
    (out / "a.png").unlink()
    assert refusal(two, record, out) == ""
