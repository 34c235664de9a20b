import math

import pytest
import torch
import torch.nn.functional as F

from ops.nets.darts import MixedOp, SearchCell, SearchNetwork, edges_of
from ops.nets.genotype import Edge, Genotype
from ops.nets.operators import NAMES, unit_power


def small(**settings):
    return SearchNetwork(**{"channels": 4, "cells": 2, "blocks": 2} | settings)


def gradients(network, x):
    network.zero_grad()
    network(x).square().mean().backward()
    return {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}


def test_twelve_blocks_have_ninety_edges_each_once():
    assert [edge for block in range(12) for edge in edges_of(block)] == list(range(90))
    assert [len(edges_of(block)) for block in range(12)] == list(range(2, 14))


def test_a_mixture_is_the_sum_that_equation_5_says():
    mixed, x = MixedOp(4), torch.randn(2, 4, 6, 5)
    weights = torch.randn(11).softmax(0)
    wanted = sum(weights[k] * mixed.operators[k](x) for k in range(11))
    torch.testing.assert_close(mixed(x, weights), wanted)


def test_one_weight_of_one_is_that_operator_alone():
    mixed, x = MixedOp(4), torch.randn(2, 4, 6, 5)
    for k, name in enumerate(NAMES):
        found = mixed(x, F.one_hot(torch.tensor(k), 11).float())
        torch.testing.assert_close(found, mixed.operators[k](x), msg=name)


def test_partial_mixes_a_share_of_the_channels_and_shuffles_all():
    mixed, x = MixedOp(16, partial=4), torch.randn(2, 16, 6, 5)
    zero = F.one_hot(torch.tensor(NAMES.index("zero")), 11).float()
    found = mixed(x, zero)
    wanted = torch.cat([torch.zeros(2, 4, 6, 5), x[:, 4:]], 1)
    order = [4 * part + channel for channel in range(4) for part in range(4)]
    torch.testing.assert_close(found, wanted[:, order])
    assert next(mixed.operators[2].parameters()).shape[0] == 4


def test_a_cell_is_the_equations_4_and_6():
    cell = SearchCell(4, blocks=2, checkpointing=False)
    previous, before = torch.randn(2, 1, 4, 6, 5)
    weights = torch.randn(5, 11).softmax(1)
    inputs = [unit_power(previous), unit_power(before)]
    first = unit_power(sum(cell.edges[j](inputs[j], weights[j]) for j in range(2)))
    inputs.append(first)
    second = unit_power(sum(cell.edges[2 + j](inputs[j], weights[2 + j]) for j in range(3)))
    wanted = cell.collect(torch.cat([first, second], 1))
    torch.testing.assert_close(cell(previous, before, weights), wanted)


def test_cells_follow_each_other_and_share_their_alphas():
    network, x = small(cells=3), torch.randn(1, 4, 6, 5)
    weights = network.alphas.softmax(1)
    first = network.cells[0](x, x, weights)
    second = network.cells[1](first, x, weights)
    torch.testing.assert_close(network(x), network.cells[2](second, first, weights))


@pytest.mark.parametrize("partial", [1, 2])
def test_checkpointing_changes_no_output_and_no_gradient(partial):
    x = torch.randn(2, 8, 6, 5, requires_grad=True)
    plain = small(channels=8, checkpointing=False, partial=partial)
    kept = small(channels=8, checkpointing=True, partial=partial)
    kept.load_state_dict(plain.state_dict())
    torch.testing.assert_close(kept(x), plain(x), rtol=0, atol=0)
    wanted = gradients(plain, x)
    of_x, x.grad = x.grad, None
    torch.testing.assert_close(gradients(kept, x), wanted, rtol=0, atol=0)
    torch.testing.assert_close(x.grad, of_x, rtol=0, atol=0)


def test_checkpointing_keeps_less_for_the_backward_pass():
    kept = []

    def note(tensor):
        kept[-1] += tensor.numel()
        return tensor

    x = torch.randn(1, 4, 16, 16, requires_grad=True)
    for checkpointing in (False, True):
        kept.append(0)
        network = small(checkpointing=checkpointing)
        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            network(x)
    assert kept[1] < kept[0] / 10


def test_every_alpha_and_every_weight_gets_a_gradient():
    network = small(network_level=True)
    found = gradients(network, torch.randn(2, 4, 8, 6))
    assert found.keys() == dict(network.named_parameters()).keys()
    assert (found["alphas"] != 0).all()
    assert (found["betas"][1] != 0).all()


def test_architecture_and_weights_share_nothing_and_leave_nothing_out():
    for network in (small(), small(network_level=True)):
        ours, theirs = network.architecture(), network.weights()
        assert {*map(id, ours)}.isdisjoint(map(id, theirs))
        assert {*map(id, ours + theirs)} == {*map(id, network.parameters())}
        assert ours[0] is network.alphas


def test_fresh_edges_are_undecided_and_large_alphas_decide_them():
    network = small()
    torch.testing.assert_close(
        network.entropies(), torch.full((5,), math.log(11)), rtol=1e-4, atol=0
    )
    torch.nn.init.zeros_(network.alphas)
    with torch.no_grad():
        network.alphas[:, 3] = 200
    assert not network.entropies().any()


def test_a_derived_block_has_its_two_strongest_inputs_and_never_zero():
    network = small(blocks=3)
    with torch.no_grad():
        network.alphas.zero_()
        network.alphas[:, 0] = 9  # zero rules every edge
        network.alphas[1, NAMES.index("fft")] = 8.5
        for source, name, strength in ((0, "skip", 1), (3, "res2", 4), (2, "deveiling", 3)):
            network.alphas[edges_of(2)[source], NAMES.index(name)] = strength
    found = network.derive()
    assert found.blocks[0][1] == Edge(1, "fft")
    assert found.blocks[2] == (Edge(2, "deveiling"), Edge(3, "res2"))
    assert found.predecessors == ()


def test_derived_blocks_have_two_edges_from_two_inputs_whatever_the_alphas():
    network = small(blocks=5)
    for _ in range(50):
        torch.nn.init.normal_(network.alphas, std=3)
        for number, block in enumerate(network.derive().blocks, 1):
            assert 0 <= block[0].source < block[1].source <= number
            assert all(edge.operator in NAMES[1:] for edge in block)


def test_a_searched_network_level_mixes_what_was_there_before_and_keeps_the_strongest():
    network, x = small(cells=3, network_level=True), torch.randn(1, 4, 6, 5)
    with torch.no_grad():
        network.betas.zero_()
        network.betas[2, 0, 1], network.betas[2, 1, 0] = 200, 200
        network.betas[:, :, 2] = 500  # no output yet that this could be
        network.betas[2, :, 2] = 0
    assert network.derive().predecessors == ((0, 0), (0, 0), (1, 0))
    weights = network.alphas.softmax(1)
    first = network.cells[0](x, x, weights)
    torch.testing.assert_close(network(x), network.cells[2](first, x, weights))


def test_blocks_in_a_row_neither_grow_nor_fade():
    cell, x = SearchCell(4, blocks=6, checkpointing=False), torch.randn(1, 4, 12, 10)
    weights = F.one_hot(torch.full((len(cell.edges),), NAMES.index("deveiling")), 11).float()
    with torch.no_grad():
        assert cell(100 * x, 100 * x, weights).std() < 5


def test_cells_in_a_row_neither_grow_nor_fade():
    network, x = SearchNetwork(channels=8, cells=4, blocks=5), torch.randn(1, 8, 12, 10)
    with torch.no_grad():
        assert 0.2 < network(x).std() < 2
        assert torch.isfinite(network(1000 * x)).all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"channels": 6, "partial": 4}, "divide the 6 channels, got 4"),
        ({"partial": 0}, "partial must be 1 or more.*got 0"),
        ({"channels": 5}, "multiple of 4, got 5"),
        ({"blocks": 0}, "at least one block, got 0"),
        ({"cells": 0}, "at least one cell, got 0"),
    ],
)
def test_settings_that_make_no_network_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        small(**settings)


def test_the_derived_cell_survives_its_text():
    found = small(network_level=True).derive()
    assert Genotype.from_json(found.to_json()) == found
