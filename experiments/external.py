"""The weights that others trained: where each file is, its hash and its licence."""

from dataclasses import dataclass
from pathlib import Path

from experiments.settings import ROOT, SettingsError, nearest


@dataclass(frozen=True)
class External:
    """A file of weights that is not part of this project.

    Attributes:
        name: what it is called on the command line.
        purpose: which network or metric reads it, as it is or converted.
        licence: of the weights, and what limits them beyond it.
        url: where it is, https.
        file: its name in the folder of weights.
        sha256: what it must hash to; None where no source publishes it.
    """

    name: str
    purpose: str
    licence: str
    url: str
    file: str
    sha256: str | None


def hashes_in(path: Path) -> dict[str, str]:
    """The hash of each file that a list of sha256sum's names; none where there is no list."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return {name: digest for digest, _, name in (line.partition("  ") for line in lines)}


# Read as text: the networks hold their files to it, and importing those takes seconds.
_PUBLISHED = hashes_in(ROOT / "ops" / "nets" / "known.sha256")
_FACENET = "https://github.com/timesler/facenet-pytorch/releases/download/v2.2.9/"
TABLE = (
    External(
        "vgg19",
        "perceptual losses (ops.nets.features.Vgg19Features), read as it is",
        "BSD-3-Clause (torchvision); trained on ImageNet, whose terms are non-commercial",
        "https://download.pytorch.org/models/vgg19-dcbb9e9d.pth",
        "vgg19-dcbb9e9d.pth",
        _PUBLISHED["vgg19-dcbb9e9d.pth"],
    ),
    External(
        "alexnet",
        "LPIPS (ops.metrics.lpips.Lpips), read as it is; its linear heads come with the package "
        "lpips (BSD-2-Clause)",
        "BSD-3-Clause (torchvision); trained on ImageNet, whose terms are non-commercial",
        "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
        "alexnet-owt-7be5be79.pth",
        _PUBLISHED["alexnet-owt-7be5be79.pth"],
    ),
    External(
        "vgg_face",
        "identity features (ops.nets.features.VggFaceFeatures), read as it is: Oxford's own "
        "conversion of its Caffe network",
        "CC BY-NC 4.0",
        "https://www.robots.ox.ac.uk/~albanie/models/pytorch-mcn/vgg_face_dag.pth",
        "vgg_face_dag.pth",
        None,
    ),
    External(
        "facenet",
        "judge and inversion target (ops.nets.facenet.FaceNet), read as it is; trained on VGGFace2",
        "MIT (facenet-pytorch); VGGFace2, since withdrawn, was for research only",
        _FACENET + "20180402-114759-vggface2.pt",
        "20180402-114759-vggface2.pt",
        _PUBLISHED["20180402-114759-vggface2.pt"],
    ),
    External(
        "facenet_casia",
        "a second judge (ops.nets.facenet.FaceNet), read as it is; trained on CASIA-WebFace",
        "MIT (facenet-pytorch); CASIA-WebFace is for research only",
        _FACENET + "20180408-102900-casia-webface.pt",
        "20180408-102900-casia-webface.pt",
        None,
    ),
    External(
        "arcface",
        "a judge (ops.nets.onnx_embedder.OnnxEmbedder), read as it is: insightface's buffalo_l",
        "non-commercial research only (insightface)",
        "https://huggingface.co/public-data/insightface/resolve/"
        "33c1063c49c785b7652d3fd529f86fa4f149392b/models/buffalo_l/w600k_r50.onnx",
        "w600k_r50.onnx",
        _PUBLISHED["w600k_r50.onnx"],
    ),
    External(
        "inception",
        "FID (ops.nets.inception.InceptionFeatures), read as it is",
        "Apache-2.0 (pytorch-fid, from TensorFlow's 2015-12-05); trained on ImageNet",
        "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/"
        "pt_inception-2015-12-05-6726825d.pth",
        "pt_inception-2015-12-05-6726825d.pth",
        _PUBLISHED["pt_inception-2015-12-05-6726825d.pth"],
    ),
    External(
        "yunet",
        "finding faces when photographs are prepared (datamodules.detection), read as it is",
        "MIT (OpenCV Zoo)",
        "https://huggingface.co/opencv/face_detection_yunet/resolve/"
        "3cc26e7f1014a5ee5d74a42acee58bafc9d0a310/face_detection_yunet_2023mar.onnx",
        "face_detection_yunet_2023mar.onnx",
        _PUBLISHED["face_detection_yunet_2023mar.onnx"],
    ),
    External(
        "niqe",
        "NIQE's model of pristine images (ops.metrics.niqe), read as it is",
        "Apache-2.0 (BasicSR)",
        "https://raw.githubusercontent.com/XPixelGroup/BasicSR/master/basicsr/metrics/"
        "niqe_pris_params.npz",
        "niqe_pris_params.npz",
        _PUBLISHED["niqe_pris_params.npz"],
    ),
)


def find(name: str) -> External:
    """The table's entry of a name.

    Raises:
        SettingsError: if there is none.
    """
    known = {item.name: item for item in TABLE}
    if name not in known:
        hint = nearest(name, known) or f"; there are {', '.join(known)}"
        raise SettingsError(f"no weights '{name}'{hint}")
    return known[name]
