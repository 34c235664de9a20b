"""Faces in photographs: boxes and five landmarks by the YuNet detector that runs inside OpenCV."""

import os
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from ops.nets.weights import verify

VARIABLE = "VISAGIST_YUNET"
SIDES = (640, 320, 1280)  # YuNet sees faces of 10 to 300 px: close-ups need 320, crowds 1280
MIN_SCORE = 0.7  # faces of lower confidence are not returned


@dataclass(frozen=True)
class Face:
    """One face, in pixels of the photograph it was found in.

    Attributes:
        landmarks: (5, 2) points (x, y): eye, eye, nose tip, mouth corner, mouth corner; of each
            pair the one further left in an upright picture comes first.
        box: x, y, width and height.
        score: the detector's confidence in [0, 1].
    """

    landmarks: np.ndarray
    box: tuple[float, float, float, float]
    score: float

    @property
    def eye_distance(self) -> float:
        """Pixels between the two eyes."""
        return float(np.linalg.norm(self.landmarks[1] - self.landmarks[0]))


def find_detector(given: Path | None) -> Path:
    """The YuNet file: `given`, else the one that the environment variable VISAGIST_YUNET names.

    Raises:
        FileNotFoundError: if neither is set, or the file is not there.
        ValueError: if a file of a known name has another hash.
    """
    named = given or os.environ.get(VARIABLE)
    source = (
        "get YuNet by `make weights ARGS=yunet`, or yunet_n_640_640.onnx (Apache-2.0) from the "
        "folder onnx of https://github.com/ShiqiYu/libfacedetection.train, and give its path"
    )
    if not named:
        msg = f"no face detector: neither --detector nor {VARIABLE} is set; {source}"
        raise FileNotFoundError(msg)
    path = Path(named)
    if not path.is_file():
        raise FileNotFoundError(f"no face detector at {path}; {source}")
    verify(path)
    return path


class FaceDetector:
    """Calls to it return the faces of one photograph, the largest first."""

    def __init__(self, path: Path) -> None:
        """Loads the network.

        Args:
            path: of YuNet as ONNX, see `find_detector`.

        Raises:
            ValueError: if OpenCV cannot read the file.
        """
        # OpenCV 5 would print a warning about its graph engine, once in every process.
        level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)
        try:
            self._network = cv2.FaceDetectorYN.create(str(path), "", (320, 320), MIN_SCORE)
        except cv2.error as error:
            msg = f"{path} is not a YuNet model that OpenCV can read; download it again"
            raise ValueError(msg) from error
        finally:
            cv2.utils.logging.setLogLevel(level)

    def __call__(self, image: np.ndarray) -> list[Face]:
        """Faces in `image`, uint8 RGB (h, w, 3), the one with the widest eyes first.

        Large photographs are shrunk; where one size shows no face the next of `SIDES` is tried.

        Raises:
            ValueError: if `image` is not uint8 RGB.
        """
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            msg = f"image must be uint8 (h, w, 3), got {image.dtype} {image.shape}"
            raise ValueError(msg)
        longest = max(image.shape[:2])
        tried = set()
        for side in SIDES:
            scale = min(1.0, side / longest)
            faces = [] if scale in tried else self._detect(image, scale)
            if faces:
                return sorted(faces, key=lambda face: -face.eye_distance)
            tried.add(scale)
        return []

    def _detect(self, image: np.ndarray, scale: float) -> list[Face]:
        bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
        if scale < 1:
            bgr = cv2.resize(bgr, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        height, width = bgr.shape[:2]
        if min(height, width) < 8:
            return []
        self._network.setInputSize((width, height))
        _, rows = self._network.detect(bgr)
        # The shrunken size is rounded, so each axis has its own exact factor.
        factor = np.array([image.shape[1] / width, image.shape[0] / height])
        return [_face(row, factor) for row in (rows if rows is not None else ())]


def _face(row: np.ndarray, factor: np.ndarray) -> Face:
    x, y, width, height = (row[:4].reshape(2, 2) * factor).ravel().tolist()
    landmarks = row[4:14].reshape(5, 2).astype(np.float64) * factor
    return Face(landmarks, (x, y, width, height), float(row[14]))
