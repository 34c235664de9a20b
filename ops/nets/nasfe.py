"""Restoration of faces by a fusion of task-specific features, NASFE (Yasarla et al., 2021).

No code of it was published.
"""

from typing import Final

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ops.kernels.adain import adain
from ops.nets.blocks import cropped, pad_to_multiple
from ops.nets.task_encoder import MULTIPLE, WIDTHS, Decoder, TaskEncoder, linear_convolution

TASKS: Final = ("blur", "noise", "low_light")


class NASFE(nn.Module):
    """Restores a face: encoders, what is known of its degradations and its person, Fn and De.

    Deviation: where the text is silent or at odds with itself.

    - De gives the face itself, as the text says, and not what to add to the image: features at a
      quarter of the size cannot hold the noise of single pixels, so that it would stay
      (`test_noise_of_single_pixels_does_not_get_through`).
    - Features, the classes broadcast to three maps, and the identity are joined by one 1x1
      convolution before Fn. Section 3 hands the classes to the encoders as well; those are
      trained first on their own, without any.
    - The identity is brought to zero mean and unit variance as a whole, since networks differ in
      scale, to the features' size, and through a 3x3 convolution from 256 to 64 maps: 0.15 million
      parameters, as in Table 6. Its statistics of single maps, which Eq. 7 sets, keep their
      proportions.
    - Features have 32 maps: with as many, four cells of nearly any genotype come within 15 % of
      Table 6's parameters (`test_variants_have_as_many_parameters_as_table_6_has`).
    - Section 3.2 feeds it to the network, Section 3.3 wants clean photographs in training only:
      a learned vector stands for it where there are none.

    Args:
        fusion: Fn, from features to features of the same shape.
        channels: of the features.
        labels: whether classes are taken.
        identity: maps of the identity information, 256 of VGG-Face; None takes none.
        widths: of the encoders' levels; the decoder has the first three.
        encoder_blocks: Res2Net blocks of the encoders' levels.
        decoder_blocks: Res2Net blocks of the decoder's levels.
        identity_features: maps that the identity information becomes.

    Raises:
        ValueError: if there are not four levels, or a width is no multiple of 4.
    """

    def __init__(
        self,
        fusion: nn.Module,
        channels: int = 32,
        labels: bool = True,
        identity: int | None = 256,
        widths: tuple[int, ...] = WIDTHS,
        encoder_blocks: tuple[int, ...] = (1, 1, 4, 4),
        decoder_blocks: tuple[int, ...] = (1, 2, 6),
        identity_features: int = 64,
    ) -> None:
        super().__init__()
        self.labels, self.identity = labels, identity
        self.encoders = nn.ModuleDict(
            {task: TaskEncoder(channels, widths, encoder_blocks) for task in TASKS}
        )
        self.likeness = None if identity is None else Likeness(identity, identity_features)
        further = len(TASKS) * labels + identity_features * (identity is not None)
        self.join = linear_convolution(len(TASKS) * channels + further, channels, 1)
        self.fusion = fusion
        self.decoder = Decoder(channels, widths[:3], decoder_blocks)

    def forward(
        self,
        image: Float[Tensor, "b 3 h w"],
        label: Float[Tensor, "b 3"] | None = None,
        identity: Float[Tensor, "b k h2 w2"] | None = None,
        dropped: Bool[Tensor, " b"] | None = None,
    ) -> Float[Tensor, "b 3 h w"]:
        """The restored image, not clamped.

        Args:
            image: degraded image in [0, 1], of any size from 8 x 8.
            label: how sure it is that there is blur, noise and low light, in [0, 1].
            identity: see `identity_information`; without it the learned vector.
            dropped: the images of the batch that get that vector all the same.

        Raises:
            ValueError: if classes are missing or not taken, the identity is not taken or has
                other maps, or a side is too short to be reflected to a multiple of 8.
        """
        self._check(label, identity)
        height, width = image.shape[-2:]
        padded = pad_to_multiple(image, MULTIPLE)
        features = [encoder(padded) for encoder in self.encoders.values()]
        b, _, *size = features[0].shape
        if label is not None:
            features.append(label[:, :, None, None].expand(-1, -1, *size).to(features[0].dtype))
        if self.likeness is not None:
            features.append(self.likeness((b, size[0], size[1]), identity, dropped))
        fused = self.fusion(self.join(torch.cat(features, 1)))
        return cropped(self.decoder(fused), height, width)

    def _check(self, label: Tensor | None, identity: Tensor | None) -> None:
        if (label is not None) != self.labels:
            told = "got none" if self.labels else "got some"
            raise ValueError(f"labels is {self.labels} and the classes of the degradations: {told}")
        if identity is not None and identity.shape[1] != self.identity:
            raise ValueError(
                f"the identity information has {identity.shape[1]} maps and this network takes "
                f"{self.identity or 'none'}: set its identity to {identity.shape[1]}"
            )


class Likeness(nn.Module):
    """The identity information as features, or a learned vector in its place.

    Args:
        inputs: maps of the identity information.
        channels: of the features.
    """

    def __init__(self, inputs: int, channels: int) -> None:
        super().__init__()
        self.conv = linear_convolution(inputs, channels)
        self.absent = nn.Parameter(torch.zeros(channels))

    def forward(
        self,
        shape: tuple[int, int, int],
        identity: Float[Tensor, "b k h2 w2"] | None,
        dropped: Bool[Tensor, " b"] | None,
    ) -> Float[Tensor, "b c h w"]:
        """The features for a batch of `shape`, (b, h, w)."""
        b, *size = shape
        absent = self.absent[:, None, None].expand(b, -1, *size)
        if identity is None:
            return absent
        even = F.layer_norm(identity, identity.shape[1:])
        found = self.conv(F.interpolate(even, size, mode="bilinear", align_corners=False))
        if dropped is None:
            return found
        return torch.where(dropped[:, None, None, None], absent.to(found.dtype), found)


def identity_information(
    image: Float[Tensor, "b c h w"], references: Float[Tensor, "b n c h2 w2"]
) -> Float[Tensor, "b c h2 w2"]:
    r"""I_iden: the mean of the references' maps, each in the style of the image's (NASFE Eq. 7).

    .. math:: \bar F_i^C = \sigma(F^y) \frac{F_i^C - \mu(F_i^C)}{\sigma(F_i^C)} + \mu(F^y)

    Args:
        image: a face network's maps of the degraded images.
        references: its maps of n clean photographs of each person, in any order.
    """
    return adain(references, image).mean(1)
