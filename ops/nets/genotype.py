"""What a search decides: the inputs and operators of the blocks of a fusion cell."""

import json
from dataclasses import asdict, dataclass
from typing import Any

from ops.nets.operators import NAMES

KEYS = {"blocks", "predecessors"}
LEGEND = (
    "source 0: the previous cell; 1: the one before it; 2, 3, ...: blocks 1, 2, ... of the cell"
)


@dataclass(frozen=True)
class Edge:
    """One of the two inputs of a block, and the operator on it.

    Attributes:
        source: 0 for the output of the previous cell, 1 for that of the one before it, 2 and more
            for the earlier blocks of the same cell.
        operator: its name in `ops.nets.operators`.
    """

    source: int
    operator: str


@dataclass(frozen=True)
class Genotype:
    """A fusion cell, shared by all cells of a network.

    Attributes:
        blocks: the two edges of each block, whose results are added (NASFE's I_1, I_2, O_1, O_2).
        predecessors: for each cell, from the first, the two outputs that it takes for sources 0
            and 1: 0 is the network's input, k the output of the k-th cell. Empty: the chain of
            Eq. 6, each cell after the one before it, for any number of cells.

    Raises:
        ValueError: if there is no block, one has not two edges, or an edge or a predecessor comes
            from what is not there yet or names no operator or the operator "zero".
    """

    blocks: tuple[tuple[Edge, Edge], ...]
    predecessors: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        if not self.blocks:
            raise ValueError("a genotype needs at least one block, got none")
        for number, block in enumerate(self.blocks, 1):
            if len(block) != 2:
                raise ValueError(f"block {number} must have two edges, got {len(block)}")
            for edge in block:
                _check_edge(edge, number)
        for number, pair in enumerate(self.predecessors, 1):
            if len(pair) != 2 or not all(_is_below(one, number) for one in pair):
                raise ValueError(
                    f"cell {number} must name two predecessors from 0 to {number - 1}, got {pair}"
                )

    @property
    def count(self) -> int:
        """The number B of blocks."""
        return len(self.blocks)

    def inputs_of(self, cell: int) -> tuple[int, int]:
        """The predecessors of the cell with this number, the first being 1.

        Raises:
            ValueError: if the genotype names predecessors, but not of that cell.
        """
        if not self.predecessors:
            return cell - 1, max(cell - 2, 0)
        if cell > len(self.predecessors):
            raise ValueError(
                f"the genotype names the predecessors of {len(self.predecessors)} cells: "
                f"make a network of as many, not of {cell}"
            )
        return self.predecessors[cell - 1]

    def to_json(self) -> str:
        """The genotype as JSON text with a line for each block, for people to read and edit."""
        blocks = ",\n  ".join(json.dumps([asdict(edge) for edge in block]) for block in self.blocks)
        lines = [f'"about": {json.dumps(LEGEND)}', f'"blocks": [\n  {blocks}\n ]']
        if self.predecessors:
            lines.append(f'"predecessors": {json.dumps(self.predecessors)}')
        return "{\n " + ",\n ".join(lines) + "\n}\n"

    @classmethod
    def from_json(cls, text: str) -> "Genotype":
        """The genotype that `to_json` wrote.

        Raises:
            ValueError: if the text is no JSON, lacks the blocks, has a key that nobody reads, or
                is no genotype.
        """
        try:
            read = json.loads(text)
        except json.JSONDecodeError as error:
            raise ValueError(f"a genotype must be JSON text, but {error}") from None
        blocks = read.get("blocks") if isinstance(read, dict) else None
        if blocks is None or not isinstance(blocks, list):
            raise ValueError('a genotype must be a JSON object with a list "blocks"')
        if strange := sorted(read.keys() - KEYS - {"about"}):
            raise ValueError(f"a genotype has the keys {sorted(KEYS)}, got {strange}: remove them")
        pairs = tuple(_block(block, number) for number, block in enumerate(blocks, 1))
        return cls(pairs, _pairs(read.get("predecessors", [])))


def _check_edge(edge: Edge, block: int) -> None:
    if not _is_below(edge.source, block + 1):
        raise ValueError(
            f"block {block} has the sources 0 to {block}, got an edge from {edge.source!r}"
        )
    if edge.operator not in NAMES[1:]:
        raise ValueError(
            f"block {block} must use operators out of {', '.join(NAMES[1:])}, got {edge.operator!r}"
        )


def _is_below(value: Any, bound: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < bound


def _block(read: Any, number: int) -> tuple[Edge, Edge]:
    if not isinstance(read, list) or len(read) != 2:
        raise ValueError(f"block {number} must be a list of two edges, got {json.dumps(read)}")
    for edge in read:
        if not isinstance(edge, dict) or edge.keys() != {"source", "operator"}:
            raise ValueError(
                f'an edge of block {number} must have "source" and "operator" and nothing else, '
                f"got {json.dumps(edge)}"
            )
        if not isinstance(edge["source"], int) or not isinstance(edge["operator"], str):
            raise ValueError(  # noqa: TRY004 - the text is at fault, not the caller's types
                f"an edge of block {number} must have a number as source and a name as operator, "
                f"got {json.dumps(edge)}"
            )
    first, second = (Edge(edge["source"], edge["operator"]) for edge in read)
    return first, second


def _pairs(read: Any) -> tuple[tuple[int, int], ...]:
    if not isinstance(read, list) or not all(isinstance(x, list) and len(x) == 2 for x in read):
        raise ValueError(f"predecessors must be a list of pairs, got {json.dumps(read)}")
    return tuple((first, second) for first, second in read)
