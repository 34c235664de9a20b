"""The continuous network in which NASFE's fusion cell is searched.

Paper: NASFE, "Network Architecture Search for Face Enhancement", Section 3.1, after DARTS (Liu,
Simonyan and Yang, ICLR 2019) and Auto-DeepLab (Liu et al., CVPR 2019). The authors published no
code; written from the equations.

Memory is the trap: a cell of 12 blocks has 90 edges of eleven operators. With `checkpointing` an
edge keeps nothing but its input and computes itself again in the backward pass; with `partial` k,
as in PC-DARTS (Xu et al., ICLR 2020), only one channel in k passes its operators.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ops.nets.genotype import Edge, Genotype
from ops.nets.operators import NAMES, OPERATORS, collector, unit_power

SPREAD = 1e-3  # of fresh alphas, as in DARTS: all operators weigh the same at first


def edges_of(block: int) -> range:
    """The numbers of the edges into a block, the first block and the first edge being 0.

    Block i has i + 2 of them, in the order of their sources.
    """
    start = block * (block + 3) // 2
    return range(start, start + block + 2)


class MixedOp(nn.Module):
    r"""All operators at once, in proportions that are learned (NASFE Eq. 5).

    .. math:: \bar O_{j \to i}(Z_j) = \sum_k \alpha_{j \to i}^k \, O^k(Z_j)

    Args:
        channels: of the features.
        partial: k of PC-DARTS. The first 1/k of the channels are mixed, the others pass as they
            are, and all are shuffled so that the next edge mixes others.

    Raises:
        ValueError: if `partial` is below 1 or does not divide `channels`, or an operator cannot
            be made for `channels` / `partial` channels.
    """

    def __init__(self, channels: int, partial: int = 1) -> None:
        super().__init__()
        if partial < 1 or channels % partial:
            raise ValueError(
                f"partial must be 1 or more and divide the {channels} channels, got {partial}"
            )
        self.partial, self.mixed = partial, channels // partial
        self.operators = nn.ModuleList(make(self.mixed) for _, make in OPERATORS)

    def forward(
        self, x: Float[Tensor, "b c h w"], weights: Float[Tensor, " operators"]
    ) -> Float[Tensor, "b c h w"]:
        """The mixture by weights that sum to 1, in the order of the table, same shape."""
        seen, others = x[:, : self.mixed], x[:, self.mixed :]
        total = torch.zeros_like(seen)
        for weight, operator in zip(weights.unbind(), self.operators, strict=True):
            total = total + weight * operator(seen)
        if self.partial == 1:
            return total
        joined = torch.cat([total, others], dim=1)
        return joined.unflatten(1, (self.partial, self.mixed)).transpose(1, 2).flatten(1, 2)


class SearchCell(nn.Module):
    """A fusion cell in which every block is connected to all inputs before it (NASFE Eq. 4, 6).

    Args:
        channels: of the inputs and of the output.
        blocks: B.
        checkpointing: keep only the inputs of an edge and compute it again in the backward pass.
        partial: see `MixedOp`.

    Raises:
        ValueError: as `MixedOp`, or if there is no block.
    """

    def __init__(
        self, channels: int, blocks: int = 12, checkpointing: bool = True, partial: int = 1
    ) -> None:
        super().__init__()
        if blocks < 1:
            raise ValueError(f"a cell needs at least one block, got {blocks}")
        self.blocks, self.checkpointing = blocks, checkpointing
        count = edges_of(blocks).start
        self.edges = nn.ModuleList(MixedOp(channels, partial) for _ in range(count))
        self.collect = collector(blocks, channels)

    def forward(
        self,
        previous: Float[Tensor, "b c h w"],
        before: Float[Tensor, "b c h w"],
        weights: Float[Tensor, "edges operators"],
    ) -> Float[Tensor, "b c h w"]:
        """The cell's output; `weights` has a row for each edge, each summing to 1."""
        states, rows = [unit_power(previous), unit_power(before)], weights.unbind()
        for block in range(self.blocks):
            total = torch.zeros_like(previous)
            for source, edge in enumerate(edges_of(block)):
                total = total + self._through(self.edges[edge], states[source], rows[edge])
            states.append(unit_power(total))
        return self.collect(torch.cat(states[2:], dim=1))

    def _through(self, edge: nn.Module, x: Tensor, weights: Tensor) -> Tensor:
        if self.checkpointing and torch.is_grad_enabled():
            # Nothing in an edge is random, so that there is no state of a generator to keep.
            return checkpoint(edge, x, weights, use_reentrant=False, preserve_rng_state=False)
        return edge(x, weights)


class SearchNetwork(nn.Module):
    """Search cells in a row that share their alphas, with weights of their own (NASFE Eq. 4 to 6).

    Attributes:
        alphas: what a softmax makes the weights of Eq. 5 of, (edges, 11).
        betas: None, or what a softmax makes the proportions of a cell's predecessors of, (cells,
            2, cells): its two inputs, each out of the network's input and the cells before it;
            what would be a cell's own or a later output is not used.

    The paper says that the network level is searched too, but Eq. 6 is a chain; so `network_level`
    is an option. Nor does it say how many cells there are, or how wide.

    Args:
        channels: of the input, the cells and the output.
        cells: their number.
        blocks: B, 12 in the paper.
        checkpointing: see `SearchCell`.
        partial: see `MixedOp`.
        network_level: search the predecessors of each cell too.

    Raises:
        ValueError: as `SearchCell`, or if there is no cell.
    """

    def __init__(
        self,
        channels: int = 16,
        cells: int = 4,
        blocks: int = 12,
        checkpointing: bool = True,
        partial: int = 1,
        network_level: bool = False,
    ) -> None:
        super().__init__()
        if cells < 1:
            raise ValueError(f"a search network needs at least one cell, got {cells}")
        self.blocks = blocks
        self.cells = nn.ModuleList(
            SearchCell(channels, blocks, checkpointing, partial) for _ in range(cells)
        )
        self.alphas = nn.Parameter(SPREAD * torch.randn(edges_of(blocks).start, len(OPERATORS)))
        self.betas = nn.Parameter(SPREAD * torch.randn(cells, 2, cells)) if network_level else None

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The fused features, same shape; the first cell has `x` for both of its inputs."""
        weights, outputs = self.alphas.softmax(1), [x]
        for number, cell in enumerate(self.cells):
            outputs.append(cell(*self._inputs(outputs, number), weights))
        return outputs[-1]

    def _inputs(self, outputs: list[Tensor], cell: int) -> tuple[Tensor, Tensor]:
        if self.betas is None:
            return outputs[-1], outputs[max(cell - 1, 0)]
        shares = self.betas[cell, :, : cell + 1].softmax(-1)
        previous, before = (
            torch.stack([share * output for share, output in zip(row, outputs, strict=True)]).sum(0)
            for row in shares
        )
        return previous, before

    def architecture(self) -> list[nn.Parameter]:
        """The parameters that the search is about: alphas and, if there are, betas."""
        return [self.alphas] if self.betas is None else [self.alphas, self.betas]

    def weights(self) -> list[nn.Parameter]:
        """All other parameters: those of the operators and of what joins the blocks."""
        return list(self.cells.parameters())

    @torch.no_grad()
    def entropies(self) -> Float[Tensor, " edges"]:
        """How undecided each edge is, in nats: log(11) at first, 0 where one operator is left."""
        return torch.special.entr(self.alphas.softmax(1)).sum(1)

    @torch.no_grad()
    def derive(self) -> Genotype:
        """The cell that is left of the search, as in DARTS.

        Each edge is as strong as its best operator other than "zero"; each block keeps its two
        strongest edges with those operators. Among equals the earlier one wins.
        """
        strengths, best = self.alphas.softmax(1)[:, 1:].max(1)
        names = [NAMES[1 + index] for index in best.tolist()]
        return Genotype(
            tuple(_two_strongest(edges_of(i), strengths, names) for i in range(self.blocks)),
            self._predecessors(),
        )

    def _predecessors(self) -> tuple[tuple[int, int], ...]:
        if self.betas is None:
            return ()
        rows = [self.betas[cell, :, : cell + 1] for cell in range(len(self.betas))]
        return tuple((int(row[0].argmax()), int(row[1].argmax())) for row in rows)


def _two_strongest(edges: range, strengths: Tensor, names: list[str]) -> tuple[Edge, Edge]:
    """The edges of one block that stay, in the order of their sources."""
    of_block = strengths[edges.start : edges.stop]
    order = of_block.argsort(descending=True, stable=True)
    first, second = sorted(order[:2].tolist())
    return Edge(first, names[edges[first]]), Edge(second, names[edges[second]])
