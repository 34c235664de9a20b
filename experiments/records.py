"""What became of each file that was restored, as lines of JSON in the outbox, and as a table.

While files are being restored each process adds to a file of its own, `outbox_<rank>.jsonl`; at the
end one `outbox.jsonl` holds the newest record of each file.
"""

import csv
import io
import json
import os
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Final, final

from datamodules.inbox import Entry
from datamodules.preparation import write_whole

SUMMARY: Final = "summary.csv"
NO_FACE: Final = "no face found"
RECORDS: Final = "outbox.jsonl"
_OWN: Final = "outbox_*.jsonl"


@final
@dataclass
class Record:
    """What became of a file.

    Attributes:
        file: its name in the outbox.
        key: of the checkpoint and the options.
        source: path of the file that was restored, without links.
        size: bytes of the file.
        changed: when it was changed, in nanoseconds.
        faces: on the photograph, or on the frame with the most.
        seconds: from reading to writing.
        likeness: mean cosine between the judge's embeddings of the faces before and after.
        note: what else is to be known.
        failure: why there is nothing; else empty.
        when: seconds since 1970.
    """

    file: str
    key: str
    source: str = ""
    size: int = -1
    changed: int = -1
    faces: int = 0
    seconds: float = 0.0
    likeness: float | None = None
    note: str = ""
    failure: str = ""
    when: float = 0.0


def begun(entry: Entry, key: str, failure: str) -> Record:
    """The record of a file of which there is nothing, for the reason that is given."""
    size, changed = _stamp(entry.path)
    source = os.path.realpath(entry.path)
    return Record(entry.name, key, source, size, changed, failure=failure, when=time.time())


def read_records(folder: Path) -> dict[str, Record]:
    """The newest record of each file by its name; lines that a kill cut short are passed over."""
    found: dict[str, Record] = {}
    known = {field.name for field in fields(Record)}
    for path in sorted([folder / RECORDS, *folder.glob(_OWN)]):
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        for line in lines:
            with suppress(ValueError, TypeError):
                record = Record(**{k: v for k, v in json.loads(line).items() if k in known})
                if record.file not in found or record.when >= found[record.file].when:
                    found[record.file] = record
    return found


def add_record(folder: Path, rank: int, record: Record) -> None:
    """Adds a line to the records of a process; a line that was cut short before it stays alone.

    Raises:
        OSError: if it cannot be written.
    """
    with (folder / f"outbox_{rank}.jsonl").open("a", encoding="utf-8") as file:
        file.write(f"\n{json.dumps(asdict(record))}\n")


def join_records(folder: Path) -> None:
    """Makes one file of all processes' records.

    Raises:
        OSError: if it cannot be written.
    """
    records = read_records(folder)
    lines = [json.dumps(asdict(records[name])) for name in sorted(records)]
    write_whole(folder / RECORDS, "\n".join([*lines, ""]).encode())
    for path in folder.glob(_OWN):
        path.unlink()


def finished(entry: Entry, record: Record | None, key: str, folder: Path) -> bool:
    """Whether a file was restored with these options before and has not changed since."""
    if record is None or record.key != key or record.failure:
        return False
    return (record.size, record.changed) == _stamp(entry.path) and (folder / entry.output).is_file()


def refusal(entry: Entry, record: Record | None, folder: Path) -> str:
    """Why a file must not be written: another's result would be lost; else empty."""
    path = folder / entry.output
    if not os.path.lexists(path):
        return ""
    if record is None:
        return f"{path} is there and was not written by restore; move it, or give another --out"
    if record.source != os.path.realpath(entry.path):
        other = record.source or "a file that is not known"
        return f"{path} was made from {other}; rename one of the two, or give another --out"
    return ""


def _stamp(path: Path) -> tuple[int, int]:
    """Bytes of a file and when it was changed; -1 where there is none."""
    try:
        told = path.stat()
    except OSError:
        return -1, -1
    return told.st_size, told.st_mtime_ns


def write_summary(folder: Path, records: list[Record]) -> None:
    """Writes summary.csv, a line a file.

    Raises:
        OSError: if it cannot be written.
    """
    table = io.StringIO()
    lines = csv.writer(table)
    lines.writerow(["file", "faces", "seconds", "identity", "note", "source"])
    for record in records:
        likeness = "" if record.likeness is None else f"{record.likeness:.4f}"
        note = f"failed: {record.failure}" if record.failure else record.note
        told = [record.file, record.faces, f"{record.seconds:.2f}", likeness, note, record.source]
        lines.writerow(told)
    write_whole(folder / SUMMARY, table.getvalue().encode(errors="surrogateescape"))
