import pytest
import torch

from ops.nets.darts import SearchNetwork, edges_of
from ops.nets.fusion import FusionCell, FusionEdge, FusionNetwork, Res2Fusion
from ops.nets.genotype import Edge, Genotype
from ops.nets.operators import NAMES, Res2Block, unit_power

CELL = Genotype(
    (
        (Edge(0, "fft"), Edge(1, "deveiling")),
        (Edge(1, "residual"), Edge(2, "separable_3")),
        (Edge(0, "self_attention"), Edge(3, "res2")),
    )
)


def decided(genotype, cells, network_level=False):
    """A search network whose alphas leave nothing but the genotype."""
    network = SearchNetwork(4, cells, genotype.count, network_level=network_level)
    with torch.no_grad():
        network.alphas.zero_()
        network.alphas[:, 0] = 300
        for number, block in enumerate(genotype.blocks):
            for edge in block:
                row = network.alphas[edges_of(number)[edge.source]]
                row[NAMES.index(edge.operator)] = 600
        for cell, pair in enumerate(genotype.predecessors):
            for which, predecessor in enumerate(pair):
                network.betas[cell, which, predecessor] = 300
    return network


def with_weights_of(search, genotype, cells):
    """The discrete network with the weights that the search gave its operators."""
    network = FusionNetwork(genotype, 4, cells)
    for ours, theirs in zip(network.cells, search.cells, strict=True):
        edges = iter(ours.edges)
        for number, block in enumerate(genotype.blocks):
            for edge in block:
                mixed = theirs.edges[edges_of(number)[edge.source]]
                chosen = mixed.operators[NAMES.index(edge.operator)]
                next(edges).operator.load_state_dict(chosen.state_dict())
        ours.collect.load_state_dict(theirs.collect.state_dict())
    return network


@pytest.mark.parametrize("predecessors", [(), ((0, 0), (0, 0), (1, 2))])
def test_a_decided_search_network_is_the_discrete_network(predecessors):
    genotype = Genotype(CELL.blocks, predecessors)
    search = decided(genotype, 3, bool(predecessors))
    network, x = with_weights_of(search, genotype, 3), torch.randn(2, 4, 9, 7)
    torch.testing.assert_close(network(x), search(x), rtol=1e-4, atol=1e-5)
    assert search.derive() == genotype


def test_an_edge_scales_and_shifts_what_its_operator_gives():
    edge, x = FusionEdge("skip", 2), torch.randn(1, 2, 3, 3)
    torch.testing.assert_close(edge(x), x)
    with torch.no_grad():
        edge.scale[1], edge.shift[0] = 3, 5
    torch.testing.assert_close(edge(x)[:, 0], x[:, 0] + 5)
    torch.testing.assert_close(edge(x)[:, 1], 3 * x[:, 1])


def test_a_cell_adds_the_two_edges_of_each_block():
    cell = FusionCell(CELL, 4)
    previous, before = torch.randn(2, 1, 4, 6, 5)
    a, b = unit_power(previous), unit_power(before)
    first = unit_power(cell.edges[0](a) + cell.edges[1](b))
    second = unit_power(cell.edges[2](b) + cell.edges[3](first))
    third = unit_power(cell.edges[4](a) + cell.edges[5](second))
    wanted = cell.collect(torch.cat([first, second, third], 1))
    torch.testing.assert_close(cell(previous, before), wanted)


def test_every_parameter_of_the_discrete_network_learns():
    network = FusionNetwork(CELL, 8, cells=2)
    network(torch.randn(2, 8, 8, 6)).square().mean().backward()
    assert all(p.grad is not None and p.grad.any() for p in network.parameters())


def test_the_width_is_64_by_default_and_the_size_is_kept():
    network = FusionNetwork(Genotype(CELL.blocks[:1]), cells=1)
    assert network(torch.randn(1, 64, 5, 7)).shape == (1, 64, 5, 7)


def test_the_baseline_is_res2blocks_in_a_row():
    network, x = Res2Fusion(8), torch.randn(1, 8, 6, 5)
    assert [type(block) for block in network.blocks] == 4 * [Res2Block]
    wanted = x
    for block in network.blocks:
        wanted = block(wanted)
    torch.testing.assert_close(network(x), wanted)


def test_settings_that_make_no_network_are_refused():
    with pytest.raises(ValueError, match="at least one cell, got 0"):
        FusionNetwork(CELL, 8, cells=0)
    with pytest.raises(ValueError, match="of 1 cells: make a network of as many, not of 2"):
        FusionNetwork(Genotype(CELL.blocks, ((0, 0),)), 8, cells=2)
    with pytest.raises(ValueError, match="multiple of 4, got 6"):
        FusionNetwork(CELL, 6)
    with pytest.raises(ValueError, match="at least one block, got 0"):
        Res2Fusion(8, blocks=0)


def test_the_discrete_network_exports_for_any_size(unchecked_types):
    network = FusionNetwork(CELL, 4, cells=1).eval()
    shapes = ({2: torch.export.Dim("h", min=4), 3: torch.export.Dim("w", min=4)},)
    given = (torch.randn(1, 4, 12, 10),)
    exported = torch.export.export(network, given, dynamic_shapes=shapes).module()
    other = torch.randn(1, 4, 9, 14)
    torch.testing.assert_close(exported(other), network(other), rtol=1e-4, atol=1e-5)
