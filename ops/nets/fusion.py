"""The fusion networks of NASFE: the one that a search found, and the baseline of Table 6.

Paper: NASFE, "Network Architecture Search for Face Enhancement", Section 3.1 and 5.3. The authors
published no code.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ops.nets.genotype import Genotype
from ops.nets.operators import Res2Block, collector, operator, unit_power


class FusionEdge(nn.Module):
    """An operator, then a scale and a shift for each channel, at first 1 and 0.

    They are what DARTS's normalisations get when the found network is trained, and stand where the
    search multiplied by its alpha.

    Args:
        name: of the operator.
        channels: of the features.

    Raises:
        ValueError: if there is no such operator, or it cannot be made for that many channels.
    """

    def __init__(self, name: str, channels: int) -> None:
        super().__init__()
        self.operator = operator(name, channels)
        self.scale = nn.Parameter(torch.ones(channels, 1, 1))
        self.shift = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """What the edge adds to its block, same shape."""
        return torch.addcmul(self.shift, self.scale, self.operator(x))


class FusionCell(nn.Module):
    """Blocks of two edges each, whose outputs are joined (NASFE Eq. 6 after the search).

    Args:
        genotype: names the edges.
        channels: of the inputs and of the output.

    Raises:
        ValueError: if an operator cannot be made for that many channels.
    """

    def __init__(self, genotype: Genotype, channels: int) -> None:
        super().__init__()
        self.sources = [tuple(edge.source for edge in block) for block in genotype.blocks]
        self.edges = nn.ModuleList(
            FusionEdge(edge.operator, channels) for block in genotype.blocks for edge in block
        )
        self.collect = collector(genotype.count, channels)

    def forward(
        self, previous: Float[Tensor, "b c h w"], before: Float[Tensor, "b c h w"]
    ) -> Float[Tensor, "b c h w"]:
        """The cell's output from those of the previous cell and of the one before it."""
        states, edges = [unit_power(previous), unit_power(before)], iter(self.edges)
        for first, second in self.sources:
            total = next(edges)(states[first]) + next(edges)(states[second])
            states.append(unit_power(total))
        return self.collect(torch.cat(states[2:], dim=1))


class FusionNetwork(nn.Module):
    """Cells of one genotype in a row, each with weights of its own (NASFE Section 3.1).

    The paper gives neither the number of cells nor their channels; four is that of the baseline's
    blocks.

    Weights of equal shapes fit several genotypes, so the genotype is part of the state: a buffer
    `genotype` with its JSON text as bytes.

    Args:
        genotype: of the cells.
        channels: of the input, the cells and the output.
        cells: their number.

    Raises:
        ValueError: if there is no cell, the genotype names the predecessors of fewer, or an
            operator cannot be made for that many channels.
    """

    def __init__(self, genotype: Genotype, channels: int = 64, cells: int = 4) -> None:
        super().__init__()
        if cells < 1:
            raise ValueError(f"a fusion network needs at least one cell, got {cells}")
        text = genotype.to_json().encode()
        self.register_buffer("genotype", torch.tensor(list(text), dtype=torch.uint8))
        self.inputs = [genotype.inputs_of(number) for number in range(1, cells + 1)]
        self.cells = nn.ModuleList(FusionCell(genotype, channels) for _ in range(cells))

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The fused features, same shape; the first cell has `x` for both of its inputs."""
        outputs = [x]
        for cell, (previous, before) in zip(self.cells, self.inputs, strict=True):
            outputs.append(cell(outputs[previous], outputs[before]))
        return outputs[-1]


class Res2Fusion(nn.Module):
    """Res2Blocks in a row: the fusion network of the baseline "BN" of NASFE's Table 6.

    Args:
        channels: of the features, a multiple of 4.
        blocks: their number; the paper has 4.

    Raises:
        ValueError: if there is no block, or `channels` is no multiple of 4.
    """

    def __init__(self, channels: int, blocks: int = 4) -> None:
        super().__init__()
        if blocks < 1:
            raise ValueError(f"a fusion network needs at least one block, got {blocks}")
        self.blocks = nn.Sequential(*(Res2Block(channels) for _ in range(blocks)))

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """The fused features, same shape."""
        return self.blocks(x)
