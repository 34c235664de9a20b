"""The table of an evaluation: the network's output beside the untouched input."""

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torchmetrics import Metric, SumMetric
from torchmetrics.functional.image import peak_signal_noise_ratio

from lightning_modules.measures import Gallery, Measures, People, View
from ops.kernels.component import ComponentBasis
from ops.metrics.ari import AccumulatedRelativeImprovement
from ops.metrics.frechet import FrechetDistance
from ops.metrics.masked_psnr import MaskedPSNR
from ops.metrics.mean import Mean
from ops.metrics.recognition import Recognition
from ops.metrics.soft_iou import soft_iou
from ops.metrics.ssim import ssim

Rival = Callable[[Tensor], Tensor]  # images (b, 3, h, w) in [0, 1] to such

CEILING = 10 * math.log10(12 * 255**2)  # dB of rounding to 8 bits, which no target is above
DEFINITIONS = (
    "psnr: mean over images, in dB, each counted as 58.92 at most (the error of rounding to 8 "
    "bits). ssim: Gaussian window 11, sigma 1.5, the image mirrored at its border. "
    "inside, outside: dB of the error pooled over the pixels of all images where the input "
    "differs from the target by more than 3/255 (mean of RGB), and over the others, always of RGB "
    "without rounding. soft_iou: predicted mask against the normalised difference of input and "
    "target."
)

ARI_DEFINITION = (
    "ari: sum over the components of 11 x 11 patches of the share of the edit that is undone, at "
    "most ari_n, the number of components that the edit changed (Makeup-Go, Eq. 7)."
)

RECOGNITION = (
    "top1_x, top5_x: the share of faces whose person judge x finds first, or among the first five, "
    "in a gallery of the clean reference photographs of everybody in the test. The face's own "
    "photograph and its references do not count, and a face whose person has no other is left out."
)
RANKS = (1, 5)


class Row(nn.Module):
    """The scores of one method; sums over images, exact over processes.

    Args:
        measures: what is measured beside PSNR and SSIM, shared between rows.
        further: names of means that the caller updates itself.
        basis: of the components that `ari` counts; None leaves the column out.
    """

    def __init__(
        self,
        measures: Measures,
        further: tuple[str, ...] = (),
        basis: ComponentBasis | None = None,
    ) -> None:
        super().__init__()
        self.ari = AccumulatedRelativeImprovement(Borrowed(basis)) if basis else None
        jury, features = measures.jury, measures.features
        measured = [name for measure in measures.each for name in measure.columns]
        names = ["psnr", "ssim", *further, *measured, *(jury.columns if jury else ())]
        self.means = nn.ModuleDict({name: Mean() for name in names})
        self.inside, self.outside = MaskedPSNR(), MaskedPSNR()
        self.count = SumMetric()
        lengths = jury.dimensions if jury else {}
        sets = {f"frechet_{name}": FrechetDistance(d) for name, d in lengths.items()}
        self.judges, self.sets = tuple(lengths), nn.ModuleDict(sets)
        self.people = nn.ModuleDict({f"top_{name}": Recognition(RANKS) for name in lengths})
        self.fid = FrechetDistance(features.dimensions) if features else None
        self.measures = measures  # no module: its networks are no part of this row

    def update(
        self,
        image: Tensor,
        output: View,
        target: View,
        region: Tensor,
        gallery: Gallery | None = None,
    ) -> None:
        """Adds images; `region` (b, 1, h, w) in {0, 1} says where a change was called for."""
        made, wanted = output.image, target.image
        a, b = (self.measures.convention.prepare(each) for each in (made, wanted))
        psnr = peak_signal_noise_ratio(a, b, data_range=1.0, dim=(1, 2, 3), reduction="none")
        self.mean("psnr").update(psnr.clamp(max=CEILING))
        self.mean("ssim").update(ssim(a, b))
        self.count.update(len(image))
        self.inside.update(made, wanted, region)
        self.outside.update(made, wanted, 1 - region)
        for measure in self.measures.each:
            for name, values in measure(made, wanted).items():
                self.mean(name).update(values)
        self._judge(output, target)
        self._recognise(output, gallery)
        if self.ari is not None:
            self.ari.update(image, made, wanted)

    def _judge(self, output: View, target: View) -> None:
        jury = self.measures.jury
        if jury is not None:
            for name, values in jury.compare(output.embeddings, target.embeddings).items():
                self.mean(name).update(values)
        for name in self.judges:
            self.distance(name).update(output.embeddings[name], target.embeddings[name])
        if self.fid is not None and output.features is not None and target.features is not None:
            self.fid.update(output.features, target.features)

    def _recognise(self, output: View, gallery: Gallery | None) -> None:
        for name in self.judges:
            found, probe = self._recognition(name), output.embeddings[name]
            if gallery is None:  # nobody is looked up, and every process has to say so
                nobody = torch.zeros(0, dtype=torch.long, device=probe.device)
                found.update(probe[:0], nobody, nobody[:, None], probe[:0], nobody, nobody)
                continue
            faces, (who, photograph, _, shown) = gallery.embeddings[name], gallery.people
            apart = torch.cat([photograph[:, None], shown], 1)
            owners = who.repeat_interleave(faces.shape[1])
            found.update(probe, who, apart, faces.flatten(0, 1), owners, shown.flatten())

    def _recognition(self, judge: str) -> Recognition:
        metric = self.people[f"top_{judge}"]
        assert isinstance(metric, Recognition)
        return metric

    def _recognised(self) -> dict[str, float]:
        found = {name: self._recognition(name).compute().tolist() for name in self.judges}
        shares = {
            f"top{k}_{name}": share
            for name, of_ranks in found.items()
            for k, share in zip(RANKS, of_ranks, strict=True)
        }
        return {name: share for name, share in shares.items() if not math.isnan(share)}

    def compute(self) -> dict[str, float]:
        """All scores: a process that saw no image takes part in the sums over processes too."""
        parts: dict[str, Metric] = {"inside": self.inside, "outside": self.outside}
        parts = {name: self.mean(name) for name in self.means} | parts
        scores = {name: float(part.compute()) for name, part in parts.items()}
        scores |= {f"frechet_{name}": float(self.distance(name).compute()) for name in self.judges}
        scores |= self._recognised()
        if self.fid is not None:
            scores["fid"] = float(self.fid.compute())
        if self.ari is not None:
            scores |= {"ari": float(self.ari.compute()), "ari_n": float(self.ari.counted())}
        return {"n": int(self.count.compute())} | scores

    def improvement(self) -> Tensor:
        """d_i of each component, (n,), whose sum is `ari`; every process has to call this.

        Raises:
            ValueError: if the row counts no components.
        """
        if self.ari is None:
            raise ValueError("scores made without a basis have no improvement of components")
        return self.ari.improvement()

    def mean(self, name: str) -> Mean:
        """The mean over images that is called `name`."""
        metric = self.means[name]
        assert isinstance(metric, Mean)
        return metric

    def distance(self, judge: str) -> FrechetDistance:
        """That of outputs from targets by the judge called so."""
        metric = self.sets[f"frechet_{judge}"]
        assert isinstance(metric, FrechetDistance)
        return metric


class Borrowed:
    """A basis that is part of a network already, and so no part of a metric's state."""

    def __init__(self, basis: ComponentBasis) -> None:
        self.basis = basis

    @property
    def count(self) -> int:
        """The number of components."""
        return self.basis.count

    def energies(self, maps: Tensor) -> Tensor:
        """Each component's sum of squares over all patches of the maps."""
        return self.basis.energies(maps)


class Scores(nn.Module):
    """Rows `identity` (the input as the output), those of rivals, and `output`.

    Args:
        measures: what is measured beside PSNR and SSIM.
        masked: whether the method predicts masks, which Soft-IoU compares with the wanted ones.
        basis: of the components that `ari` counts; None leaves it out.
        rivals: further rows by name: what answers to images without having learned anything.
    """

    def __init__(
        self,
        measures: Measures = Measures(),
        masked: bool = False,
        basis: ComponentBasis | None = None,
        rivals: Mapping[str, Rival] | None = None,
    ) -> None:
        super().__init__()
        self.caveat, self.measures, self._rivals = measures.caveat, measures, dict(rivals or {})
        judged = RECOGNITION if measures.jury else ""
        texts = [f"{measures.convention.sentence}.", DEFINITIONS, measures.definition, judged]
        self.definitions = " ".join(text for text in [*texts, ARI_DEFINITION * bool(basis)] if text)
        own = ("seconds", "soft_iou") if masked else ("seconds",)
        self.identity, self.output = Row(measures, (), basis), Row(measures, own, basis)
        self.others = nn.ModuleDict({name: Row(measures, (), basis) for name in self._rivals})

    def update(
        self,
        image: Tensor,
        output: Tensor,
        target: Tensor,
        region: Tensor,
        masks: tuple[Tensor, Tensor] | None,
        seconds: float,
        people: People | None = None,
    ) -> None:
        """Adds (b, 3, h, w) images, their (predicted, wanted) masks and the time they took.

        With `people` judges look every face up among the references of all.
        """
        view = self.measures.view
        wanted = view(target)  # once for all rows: networks are what an evaluation waits for
        gallery = self.measures.gallery(people) if people else None
        answers = {"identity": image, "output": output.clamp(0, 1)}
        answers |= {name: rival(image) for name, rival in self._rivals.items()}
        for name, answer in answers.items():
            self._row(name).update(image, view(answer), wanted, region, gallery)
        self.output.mean("seconds").update(image.new_full((len(image),), seconds / len(image)))
        if masks is not None:
            self.output.mean("soft_iou").update(soft_iou(*masks))

    def _row(self, name: str) -> Row:
        row = self.others[name] if name in self.others else getattr(self, name)
        assert isinstance(row, Row)
        return row

    def check(self, height: int, width: int) -> None:
        """Nothing, for images that are large enough to be scored; asked before any training.

        Raises:
            ValueError: if they are too small for something that is measured.
        """
        self.measures.check(height, width)

    def reset(self) -> None:
        """Forgets all images."""
        for module in self.modules():
            if isinstance(module, Metric):
                module.reset()

    def table(self) -> dict[str, dict[str, float]]:
        """The scores of each row by name."""
        return {name: self._row(name).compute() for name in ("identity", *self.others, "output")}
