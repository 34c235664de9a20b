import pytest

from experiments.options import COMMANDS, OTHERS, RUNS_AN_EXPERIMENT, Parser
from experiments.settings import SettingsError


def test_a_command_either_runs_an_experiment_or_does_not():
    assert not RUNS_AN_EXPERIMENT.keys() & OTHERS.keys()
    assert list(COMMANDS) == [*RUNS_AN_EXPERIMENT, *OTHERS]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--seed=1"], r"^unrecognized arguments: --seed=1; --help lists the options$"),
        (["--seeds=many"], "invalid int value: 'many'; --help lists the options$"),
    ],
)
def test_a_wrong_option_is_one_sentence_and_none_is_abbreviated(words: list[str], sentence: str):
    parser = Parser("claims", "About.")
    parser.add_argument("--seeds", type=int)
    with pytest.raises(SettingsError, match=sentence):
        parser.parse_args(words)


def test_help_names_the_command_as_it_is_called(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        Parser("claims", "About.").parse_args(["--help"])
    told = capsys.readouterr().out
    assert told.startswith("usage: python -m experiments claims")
    assert "About." in told
