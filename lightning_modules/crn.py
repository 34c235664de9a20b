"""Training of the Component Regression Network (Chen, Shen and Jia, ICCV 2017)."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any, final

import torch
from jsonargparse.typing import NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor

from lightning_modules.base import Restored, Training
from lightning_modules.components import Cut, training_pairs
from lightning_modules.exhibits import ComponentCurves, FirstBranches
from lightning_modules.measures import Measures
from lightning_modules.schedules import polynomial
from lightning_modules.scores import Scores
from ops.nets.crn import CRN

log = logging.getLogger(__name__)


@final
class ComponentRegression(Training):
    """A network that takes an edited portrait back, each of its heads one component of the edit.

    Before the first step the components and their scales are fitted to the training pairs; both
    are part of every checkpoint. Inference needs neither the fit nor any decomposition.

    Deviation: the paper names neither the optimiser nor the momentum, only the rate, the policy and
    that gradients are clipped, not at which norm: stochastic gradient descent with momentum 0.9
    and decay 1e-4 is Caffe's usual form and that of VDSR, which the paper compares with. The norm
    of 10 is ours: one branch's gradient may be a hundred times another's for some batches, and
    where the norm of all is cut to 1, as it then is at nearly every step, the branches of the
    low-ranking components have learned nothing after hundreds of batches. Each head's loss is a
    mean over its pixels and channels, and the heads' losses are added.

    Args:
        network: with as many heads as `cut` asks for.
        cut: what the heads predict.
        discrepancy: predict target minus input (Section 4); False predicts the target itself,
            "w/o DisMap" in Table 2.
        max_batches: batches in the whole run.
        learning_rate: at the start; falls by a polynomial.
        clip_norm: largest norm of the gradient; 0 leaves it as it is.
        measures: what its tables hold beside PSNR and SSIM.

    Raises:
        ValueError: if the network's heads are not those that `cut` asks for.
    """

    def __init__(
        self,
        network: CRN,
        cut: Cut = Cut(),
        discrepancy: bool = True,
        max_batches: PositiveInt = 40_000,
        learning_rate: PositiveFloat = 0.01,
        clip_norm: NonNegativeFloat = 10.0,
        measures: Measures = Measures(),
    ) -> None:
        super().__init__(max_batches, learning_rate, clip_norm, schedule=polynomial)
        self.network, self.cut, self.discrepancy = network, cut, discrepancy
        self.basis, self.heads = cut.unfitted()
        self.scores = Scores(measures, basis=self.basis)
        if network.heads != self.heads.channels:
            raise ValueError(
                f"network.heads must be {list(self.heads.channels)} for dedicated="
                f"{cut.dedicated} and shared={cut.shared}, got {list(network.heads)}"
            )
        self.exhibits.append(ComponentCurves(self.basis, self.scores.output.improvement))
        if cut.dedicated:
            self.exhibits.append(FirstBranches(self.restore_with_first, cut.dedicated))

    def on_fit_start(self) -> None:
        """Fits the components, unless a checkpoint has brought them.

        Raises:
            ValueError: if the training pairs do not differ.
        """
        if self.batches_done:
            return
        pairs = training_pairs(self.trainer, self.cut.batches, self.device)
        maps = (self._wanted_map(image, target) for image, target in pairs)
        basis, scales = self.cut.fit(maps, self.device)
        self.heads.load_state_dict(self.cut.heads(basis, scales).state_dict())
        # What the heads predict is the edit already, or its components are those of portraits.
        edit = None if self.discrepancy else self.cut.fit_to_edits(self.trainer, self.device)
        self.basis.load_state_dict(edit or basis.state_dict())
        log.info("%d of %d components have the least scale", scales.floored, basis.count)

    def train_batch(self, batch: dict[str, Any]) -> None:
        """One step on the sum of the heads' losses."""
        with self.turn("generator"):
            losses = self.head_losses(batch["image"], batch["target"])
            self.step("generator", torch.stack(losses).sum())

    def head_losses(self, image: Tensor, target: Tensor) -> list[Tensor]:
        """The squared error of each head against its part of the map, as a mean (Eq. 2)."""
        wanted = self.heads.targets(self._wanted_map(image, target))
        outputs = self.network(image)
        losses = [
            torch.nn.functional.mse_loss(output.float(), part)
            for output, part in zip(outputs, wanted, strict=True)
        ]
        self.log_terms({f"train/head_{i}": loss.detach() for i, loss in enumerate(losses)})
        return losses

    def restore(self, batch: Mapping[str, Any]) -> Restored:
        """The portrait before the edit."""
        image = batch["image"]
        return Restored(self._put_together(image, self._outputs(image)))

    def restore_with_first(self, image: Tensor, counts: Sequence[int]) -> list[Tensor]:
        """For each count, what comes out if only so many of the first heads speak (Fig. 6)."""
        outputs = self._outputs(image)
        silent = [torch.zeros_like(output) for output in outputs]
        return [self._put_together(image, outputs[:k] + silent[k:]) for k in counts]

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """Stochastic gradient descent with momentum."""
        parameters = self.network.parameters()
        rate = self.learning_rate
        return [torch.optim.SGD(parameters, rate, momentum=0.9, weight_decay=1e-4)]

    def _outputs(self, image: Tensor) -> list[Tensor]:
        return [output.float() for output in self.network(image)]  # as in `head_losses`

    def _put_together(self, image: Tensor, outputs: list[Tensor]) -> Tensor:
        whole = self.heads.assemble(outputs)
        return (image + whole if self.discrepancy else whole).clamp(0, 1)

    def _wanted_map(self, image: Tensor, target: Tensor) -> Tensor:
        return target - image if self.discrepancy else target
