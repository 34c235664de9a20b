import pytest

from experiments.messages import one_line, plain

KNOWN = ["trainer.max_steps", "max_batches", "wandb", "data"]


def told(message: str) -> str:
    return one_line(message, {"net": {"class_path": "collections.OrderedDict"}}, KNOWN)


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (
            "unrecognized arguments: --trainer.max_step=3",
            "no setting 'trainer.max_step': did you mean 'trainer.max_steps'?",
        ),
        ("unrecognized arguments: hello", "stray word 'hello'; settings are given as --key=value"),
        (
            "Option 'max_batch' is not accepted",
            "no setting 'max_batch': did you mean 'max_batches'?",
        ),
        (
            "Group 'trainer' does not accept option 'max_stepz'",
            "no setting 'trainer.max_stepz': did you mean 'trainer.max_steps'?",
        ),
        (
            "Parser key \"wandb\":\n  Expected a typing.Literal['off', 'online']. Got value: of",
            "wandb must be one of off, online; got 'of': did you mean 'off'?",
        ),
        (
            'Parser key "max_batches":\n  Not of type PositiveInt: 0 does not conform to '
            "restriction v>0",
            "max_batches must be a whole number above 0, got '0'",
        ),
        ("something nobody\n  foresaw", "something nobody foresaw"),
    ],
)
def test_the_parsers_words_become_one_line(message: str, said: str):
    assert told(message) == said


def test_a_reason_among_many_is_the_one_that_is_told():
    message = (
        "Does not validate against any of the Union subtypes\n  Errors:\n"
        "    - gamma must be positive,\n        got 0\n    - Expected a <class 'NoneType'>\n"
        "  Given value type: <class 'dict'>\n  Given value: {}"
    )
    assert plain(message) == "gamma must be positive, got 0"
