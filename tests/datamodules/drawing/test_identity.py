import pytest

from datamodules.drawing.identity import draw_person, mixed

CROWD = [draw_person(identity, 0) for identity in range(300)]


def test_the_same_number_is_the_same_person() -> None:
    assert draw_person(7, 3) == draw_person(7, 3)
    assert draw_person(7, 3) != draw_person(8, 3)
    assert draw_person(7, 3) != draw_person(7, 4)


def test_ages_tones_and_sexes_vary() -> None:
    ages, tones = [p.age for p in CROWD], [p.tone for p in CROWD]
    assert min(ages) < 20
    assert max(ages) > 75
    assert min(tones) < 0.03
    assert max(tones) > 0.97
    assert 0.4 < sum(p.masculine > 0.5 for p in CROWD) / 300 < 0.6


def test_skin_is_redder_than_blue_and_lighter_with_tone() -> None:
    assert all(p.skin[0] > p.skin[1] > p.skin[2] > 0 for p in CROWD)
    dark = [sum(p.skin) for p in CROWD if p.tone < 0.2]
    light = [sum(p.skin) for p in CROWD if p.tone > 0.8]
    assert max(dark) < min(light)


def test_old_people_are_greyer_than_young_ones() -> None:
    def saturation(ages: range) -> float:
        hair = [p.hair.colour for p in CROWD if int(p.age) in ages and p.tone > 0.6]
        return sum((max(c) - min(c)) / max(c) for c in hair) / len(hair)

    assert saturation(range(70, 80)) < 0.5 * saturation(range(18, 40))


def test_only_men_have_beards_and_some_are_bald() -> None:
    assert all(p.beard.density == 0 for p in CROWD if p.masculine < 0.5)
    assert any(p.beard.density > 0.8 for p in CROWD)
    assert any(p.hair.density == 0 for p in CROWD)
    assert any(p.hair.bun > 0 for p in CROWD)


def test_freckles_need_light_skin() -> None:
    assert any(p.freckled > 0 for p in CROWD)
    assert all(p.tone > 0.45 for p in CROWD if p.freckled > 0)


def test_a_mixture_lies_between_its_parts() -> None:
    assert mixed((0, 0, 0), (1, 2, 4), 0.25) == (0.25, 0.5, 1.0)


def test_a_negative_number_is_refused() -> None:
    with pytest.raises(ValueError, match="non-negative"):
        draw_person(-1, 0)
