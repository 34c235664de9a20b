from pathlib import Path

import numpy as np
import torch
from PIL import Image

from lightning_modules.pictures import Sheet


def test_a_sheet_has_a_row_for_each_face_and_a_column_for_each_view(tmp_path: Path) -> None:
    sheet = Sheet(faces=2, side=64)
    for shade in (0.0, 1.0, 0.5):
        face = torch.full((1, 3, 32, 32), shade)
        sheet.add({"raw": face, "mask": face[:, :1]})
    picture = sheet.take()
    assert picture is not None
    assert picture.shape == (18 + 2 * 68, 2 * 68, 3)
    assert (picture[18 : 18 + 64, :64] == 0).all()
    assert (picture[18 + 68 : 18 + 132, 68:132] == 255).all()
    Sheet.write(picture, tmp_path / "new" / "sheet.png")
    assert (np.asarray(Image.open(tmp_path / "new" / "sheet.png")) == picture).all()


def test_a_sheet_that_was_taken_is_empty() -> None:
    sheet = Sheet()
    sheet.add({"raw": torch.zeros(1, 3, 32, 32)})
    assert sheet.take() is not None
    assert sheet.take() is None


def test_a_sheet_has_room_until_it_holds_its_faces() -> None:
    sheet = Sheet(faces=3)
    face = torch.zeros(2, 3, 32, 32)
    rooms = [sheet.room]
    for _ in range(2):
        sheet.add({"raw": face, "output": face})
        rooms.append(sheet.room)
    assert rooms == [3, 1, 0]
    assert sheet.take() is not None
    assert sheet.room == 3
