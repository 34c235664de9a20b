import dataclasses

import pytest

from datamodules.drawing.person import Person


def test_a_person_does_not_change(person: Person) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        person.age = 20.0  # type: ignore[misc]
    with pytest.raises(dataclasses.FrozenInstanceError):
        person.head.width = 1.0  # type: ignore[misc]
