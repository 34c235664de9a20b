import json

import pytest

from ops.nets.genotype import Edge, Genotype

SMALL = Genotype(
    (
        (Edge(0, "fft"), Edge(1, "skip")),
        (Edge(0, "deveiling"), Edge(2, "separable_3")),
    ),
    ((0, 0), (1, 0), (2, 2)),
)


def changed(**values):
    """SMALL's JSON text with other values for some keys."""
    return json.dumps(json.loads(SMALL.to_json()) | values)


def one_block(*edges):
    return {"blocks": [[{"source": source, "operator": name} for source, name in edges]]}


@pytest.mark.parametrize("genotype", [SMALL, Genotype(SMALL.blocks)])
def test_a_genotype_comes_back_from_its_text(genotype):
    assert Genotype.from_json(genotype.to_json()) == genotype


def test_the_text_has_a_line_for_each_block_and_says_what_the_numbers_mean():
    lines = [line.strip() for line in SMALL.to_json().splitlines()]
    assert lines[1].startswith('"about": "source 0: the previous cell; 1: the one before it;')
    wanted = '{"source": 0, "operator": "deveiling"}, {"source": 2, "operator": "separable_3"}'
    assert lines[4] == f"[{wanted}]"


def test_without_predecessors_the_cells_are_a_chain():
    chain = Genotype(SMALL.blocks)
    assert [chain.inputs_of(number) for number in (1, 2, 3, 4)] == [(0, 0), (1, 0), (2, 1), (3, 2)]
    assert [SMALL.inputs_of(number) for number in (1, 2, 3)] == [(0, 0), (1, 0), (2, 2)]


def test_more_cells_than_have_predecessors_are_refused():
    with pytest.raises(ValueError, match="of 3 cells: make a network of as many, not of 4"):
        SMALL.inputs_of(4)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "must be JSON text"),
        ("[]", 'JSON object with a list "blocks"'),
        ('{"blocks": 3}', 'JSON object with a list "blocks"'),
        (changed(blocks=[]), "at least one block"),
        (changed(normal=[]), "got \\['normal'\\]: remove them"),
        (changed(blocks=[[]]), "block 1 must be a list of two edges, got \\[\\]"),
        (changed(blocks=[["fft", "skip"]]), 'must have "source" and "operator".*got "fft"'),
        (changed(**one_block((0, "fft"), (2, "skip"))), "block 1 has the sources 0 to 1, .* 2"),
        (changed(**one_block((0, "fft"), (-1, "skip"))), "sources 0 to 1, got an edge from -1"),
        (changed(**one_block((0, "fft"), ("1", "skip"))), "a number as source"),
        (changed(**one_block((0, "fft"), (1, None))), "a name as operator"),
        (changed(**one_block((0, "fft"), (True, "skip"))), "sources 0 to 1, .* from True"),
        (changed(**one_block((0, "zero"), (1, "skip"))), "out of skip, .*got 'zero'"),
        (changed(**one_block((0, "fft"), (1, "conv"))), "out of skip, .*got 'conv'"),
        (changed(predecessors=3), "list of pairs, got 3"),
        (changed(predecessors=[[0]]), "list of pairs"),
        (changed(predecessors=[[0, 1]]), "cell 1 must name two predecessors from 0 to 0"),
    ],
)
def test_a_text_that_is_no_genotype_is_refused_in_a_sentence(text, message):
    with pytest.raises(ValueError, match=message):
        Genotype.from_json(text)


def test_a_block_of_three_edges_is_refused(unchecked_types):
    edge = Edge(0, "skip")
    with pytest.raises(ValueError, match="block 1 must have two edges, got 3"):
        Genotype(((edge, edge, edge),))  # type: ignore[arg-type]
