import math
from pathlib import Path

import pytest

from experiments import settings
from experiments.claims import METRICS, Claim, Comparison, compared, read_claims
from experiments.settings import SettingsError, describe, paper_of, read
from lightning_modules.scores import Scores
from ops.kernels.component import ComponentBasis
from tests.experiments.made_up import MINE, groups, write_run

ARI = Claim("full", "ari", "above", "plain", "Table 1")
SHIPPED = list(read_claims())


def judged(base: Path, claim: Claim = ARI) -> list[Comparison]:
    return compared(claim, groups(base))


def pair(base: Path, seed: int, full: float, plain: float) -> None:
    write_run(base / f"full{seed}", "full", seed, {"ari": full})
    write_run(base / f"plain{seed}", "plain", seed, {"ari": plain})


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ([(3.0, 1.0), (2.0, 1.5)], "held"),
        ([(1.0, 3.0), (1.5, 2.0)], "did not hold"),
        ([(3.0, 1.0), (1.0, 3.0)], "undecided"),
        ([(3.0, 1.0), (2.0, 2.0)], "undecided"),
        ([(3.0, 1.0)], "undecided"),
        ([(3.0, 1.0), (math.nan, 1.0)], "undecided"),
        ([(math.nan, 1.0), (math.nan, 1.0)], "undecided"),
    ],
)
def test_a_verdict_needs_one_sign_for_every_seed(
    runs: Path, values: list[tuple[float, float]], verdict: str
):
    for seed, (full, plain) in enumerate(values):
        pair(runs, seed, full, plain)
    assert [comparison.verdict for comparison in judged(runs)] == [verdict]


def test_below_turns_the_sign(runs: Path):
    pair(runs, 0, 1.0, 3.0)
    pair(runs, 1, 1.5, 2.0)
    below = Claim("full", "ari", "below", "plain", "Table 1")
    assert judged(runs, below)[0].verdict == "held"


def test_seeds_are_paired_by_their_number(runs: Path):
    pair(runs, 0, 3.0, 1.0)
    write_run(runs / "full7", "full", 7, {"ari": 9.0})
    write_run(runs / "plain8", "plain", 8, {"ari": 0.0})
    (comparison,) = judged(runs)
    assert comparison.differences == [2.0]
    assert comparison.verdict == "undecided"


def test_a_claim_of_which_one_side_is_missing_is_not_run(runs: Path):
    write_run(runs / "a", "full", 0, {"ari": 3.0})
    (comparison,) = judged(runs)
    assert (comparison.verdict, comparison.ours) == ("not run", None)


def test_a_metric_that_was_not_measured_is_not_run(runs: Path):
    write_run(runs / "a", "full", 0, {"ari": 3.0, "psnr": 30.0})
    write_run(runs / "b", "plain", 0, {"ari": None, "psnr": 30.0})
    assert judged(runs)[0].verdict == "not run"


@pytest.mark.parametrize(
    "over",
    [
        MINE,
        {"max_batches": 9},
        {"trainer.devices": 2},
        {"model.init_args.learning_rate": 0.1},
    ],
)
def test_runs_that_differ_in_more_than_the_claim_are_never_compared(
    runs: Path, over: dict[str, object]
):
    for seed in (0, 1):
        write_run(runs / f"a{seed}", "full", seed, {"ari": 3.0})
        write_run(runs / f"b{seed}", "plain", seed, {"ari": 1.0}, over)
    assert judged(runs)[0].verdict == "not run"
    for seed in (0, 1):
        write_run(runs / f"c{seed}", "full", seed, {"ari": 4.0}, over)
    (comparison,) = judged(runs)
    assert comparison.differences == [3.0, 3.0]


def test_each_condition_has_a_verdict_of_its_own(runs: Path):
    for seed in (0, 1):
        pair(runs, seed, 3.0, 1.0)
        write_run(runs / f"c{seed}", "full", seed, {"ari": 1.0}, MINE)
        write_run(runs / f"d{seed}", "plain", seed, {"ari": 3.0}, MINE)
    assert [comparison.verdict for comparison in judged(runs)] == ["did not hold", "held"]


def test_a_condition_of_too_few_seeds_is_left_out_beside_one_of_enough(runs: Path):
    for seed, over in ((0, {}), (1, {}), (0, MINE)):
        write_run(runs / f"full{seed}{len(over)}", "full", seed, {"psnr": 30.0}, over)
        write_run(runs / f"plain{seed}{len(over)}", "plain", seed, {"psnr": 29.0}, over)
    claim = Claim("full", "psnr", "above", "plain", "Table 1")
    (found,) = compared(claim, groups(runs))
    assert (found.verdict, len(found.differences)) == ("held", 2)


def test_another_class_may_have_other_arguments(runs: Path):
    for seed in (0, 1):
        write_run(runs / f"a{seed}", "full", seed, {"psnr": 31.0})
        over = {"model.class_path": "some.OtherModel", "model.init_args": {"depth": 5}}
        write_run(runs / f"b{seed}", "other", seed, {"psnr": 30.0}, over)
    claim = Claim("full", "psnr", "above", "other", "Table 2")
    assert judged(runs, claim)[0].verdict == "held"


def test_what_a_file_says_of_the_data_may_differ(runs: Path):
    (settings.EXPERIMENTS / "plain.yaml").write_text(
        "bases: [../paper.yaml]\ndata: {init_args: {unpaired: false}}\n"
    )
    for seed in (0, 1):
        pair(runs, seed, 3.0, 1.0)
    assert judged(runs)[0].verdict == "held"


def test_runs_as_long_as_their_files_say_are_compared_though_the_files_differ(runs: Path):
    (settings.EXPERIMENTS / "plain.yaml").write_text("bases: [../paper.yaml]\nmax_batches: 20\n")
    for seed in (0, 1):
        pair(runs, seed, 3.0, 1.0)
    assert judged(runs)[0].verdict == "held"


def test_a_run_cut_short_is_not_compared_though_the_files_differ_in_length(runs: Path):
    (settings.EXPERIMENTS / "plain.yaml").write_text("bases: [../paper.yaml]\nmax_batches: 20\n")
    for seed in (0, 1):
        write_run(runs / f"a{seed}", "full", seed, {"ari": 3.0})
        write_run(runs / f"b{seed}", "plain", seed, {"ari": 1.0}, {"max_batches": 3})
    assert judged(runs)[0].verdict == "not run"


def test_a_claim_knows_the_papers_two_numbers(runs: Path):
    told = read_claims()["paper"]
    assert [claim.printed for claim in told.claims] == [(60.5, 12.5), (40.0, 39.0)]
    assert str(told.claims[0]) == "ari of full above plain"
    assert (told.claims[0].words, told.first) == ("wide is better", ())
    assert told.experiments == ["full", "plain", "other"]


ORDERING = "{experiment: full, metric: test/ari, above: plain}"


@pytest.mark.parametrize(
    ("ordering", "said"),
    [
        (ORDERING.replace("above", "abov"), "no key of an ordering 'abov': did you mean 'above'?"),
        ("{experiment: full, metric: test/ari}", "either above or below"),
        (ORDERING.replace("above", "below: plain, above"), "either above or below"),
        (ORDERING.replace("ari", "ary"), "no metric 'test/ary': did you mean"),
        ("{experiment: full, above: plain}", "an ordering lacks metric"),
        ("{metric: test/ari, above: plain}", "an ordering lacks experiment"),
        (ORDERING.replace("plain", "plane"), "no other experiment 'plane': did you mean 'plain'?"),
        (ORDERING.replace("plain", "full"), "no other experiment 'full'"),
        (ORDERING.replace("full", "fill"), "no experiment 'fill': did you mean 'full'?"),
        ("plain", "an ordering must say experiment, metric, above, below, got 'plain'"),
    ],
)
def test_a_wrong_ordering_is_told_in_one_line(runs: Path, ordering: str, said: str):
    write_claims(f"paper: {{claims: [{{claim: x, source: y, orderings: [{ordering}]}}]}}")
    told_of(said)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{first: []}", "a paper lacks claims"),
        ("{claims: {}}", "claims must be a list, got a dict"),
        ("{claims: [], frist: [full]}", "no key of a paper 'frist': did you mean 'first'?"),
        ("{claims: [], first: [ful]}", "no experiment 'ful': did you mean 'full'?"),
        ("{claims: [{claim: x, orderings: []}]}", "a claim lacks source"),
        ("{claims: [{claim: x, source: '', orderings: []}]}", "source of a claim must be words"),
        ("{claims: [{claim: x, source: y, orderings: z}]}", "orderings must be a list, got a str"),
        ("7", "a paper must say claims, first, got '7'"),
    ],
)
def test_a_wrong_paper_is_told_in_one_line(runs: Path, content: str, said: str):
    write_claims(f"paper: {content}")
    told_of(said)


def write_claims(content: str) -> None:
    settings.claims_file().write_text(content)


def told_of(said: str) -> None:
    with pytest.raises(SettingsError, match=r"claims\.yaml: ") as caught:
        read_claims()
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", SHIPPED)
def test_the_shipped_claims_of_a_paper_are_of_its_experiments_and_as_its_numbers_are(name: str):
    told = read_claims()[name]
    (paper,) = {paper_of(experiment) for experiment in told.experiments}
    assert paper
    assert read(settings.CONFIGS / f"{name}.yaml")["paper"] == paper
    for claim in told.claims:
        one, other = claim.printed
        if one is not None and other is not None:
            assert (one > other) == (claim.side == "above"), claim


@pytest.mark.parametrize("name", SHIPPED)
def test_no_shipped_claim_stands_twice(name: str):
    told = read_claims()[name].claims
    orderings = [(frozenset(claim.pair), claim.metric) for claim in told]
    assert [each for each in orderings if orderings.count(each) > 1] == []


def test_the_shipped_claims_are_those_of_all_five_papers():
    assert set(SHIPPED) == {"crn", "retouchformer", "ispl", "nasfe", "inversion"}
    claims = [claim for told in read_claims().values() for claim in told.claims]
    assert len({(claim.words, claim.source) for claim in claims}) >= 25
    assert all(claim.source.startswith(("Table", "Section", "Fig.")) for claim in claims)
    # ours, in place of what the papers measured
    stand_ins = {"soft_iou", "fed_own", "frechet_own", "identity_second", "loss", "distance"}
    assert {claim.metric for claim in claims if None in claim.printed} <= stand_ins
    assert describe("crn_mt")[1]["test/ari"] == 60.5


def test_every_metric_that_can_be_claimed_is_one_that_a_table_has():
    scores = Scores(masked=True, basis=ComponentBasis.empty(3, "per_channel"))
    columns = {*scores.output.means, "inside", "outside", "ari"}
    given = {"ms_ssim", "lpips", "niqe", "fid"}  # by what `Measures` is told
    of_inversion = {"loss", "distance"}
    assert set(METRICS) == (columns | given | of_inversion) - {"seconds"}
