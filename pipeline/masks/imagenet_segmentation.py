"""ImageNet-Segmentation: gtsegs_ijcv.mat, an HDF5 file of pictures, masks and synsets."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pipeline.masks.base import Example, Layout, Request, foreground, need_names, paired
from pipeline.pictures.decode import EXACT, Decoded, Decoding
from schemas.errors import SourceError, UsageError


@dataclass(frozen=True)
class ImageNetSegmentation:
    """gtsegs_ijcv.mat: HDF5 with references to pictures, masks and synsets, arrays transposed.

    The file is opened by the process that reads from it: a handle does not survive a fork.
    """

    path: Path
    keys: tuple[str, ...]
    labels: tuple[str | None, ...]
    classes: tuple[str, ...]
    by_class: bool = False

    @cached_property
    def _file(self) -> Any:
        return _hdf5(self.path)

    def __getstate__(self) -> dict[str, Any]:
        """Leave the open file behind."""
        return {k: v for k, v in self.__dict__.items() if k != "_file"}

    def read(self, index: int, how: Decoding = EXACT) -> Example:
        """Read a pair; it is stored as pixels, so that there is nothing to decide of decoding."""
        f = self._file
        picture = np.asarray(f[f["/value/img"][index, 0]]).transpose(2, 1, 0)
        mask = np.asarray(f[f[f["/value/gt"][index, 0]][0, 0]]).transpose(1, 0)
        found = Image.fromarray(np.ascontiguousarray(picture, dtype=np.uint8))
        whole = Decoded(found, found.width, found.height)
        return paired(whole, foreground(mask.astype(np.uint8)), self.keys[index])


def open_imagenet_segmentation(request: Request) -> ImageNetSegmentation:
    """List the pictures; the classes asked for name its synsets in sorted order.

    Raises:
        SourceError: the file cannot be opened, or holds something else.
        UsageError: there is not one name for each synset.
    """
    path = request.root
    with _hdf5(path) as f:
        lacking = [part for part in ("img", "gt", "id") if f"/value/{part}" not in f]
        if lacking:
            raise SourceError(
                f"{path} has no /value/{lacking[0]}; expected gtsegs_ijcv.mat of "
                "ImageNet-Segmentation, with /value/img, /value/gt and /value/id"
            )
        count = f["/value/img"].shape[0]
        synsets = ["".join(map(chr, np.ravel(f[f["/value/id"][i, 0]]))) for i in range(count)]
    known = sorted(set(synsets))
    what, order = f"{path.name} with its synsets", "sorted order of the synsets"
    names = need_names(request.classes, len(known), what, order)
    name_of = dict(zip(known, names, strict=True))
    keys = tuple(f"{i:05d}-{synset}" for i, synset in enumerate(synsets))
    return ImageNetSegmentation(path, keys, tuple(name_of[s] for s in synsets), names)


def _hdf5(path: Path) -> Any:
    try:
        import h5py
    except ImportError:
        raise UsageError(f"{path.name} is HDF5 and needs h5py: pip install h5py") from None
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise SourceError(f"cannot open {path}: {error}") from None


LAYOUT = Layout(
    "ImageNet-Segmentation",
    "a .mat file of ImageNet-Segmentation",
    lambda root: root.is_file() and root.suffix == ".mat",
    open_imagenet_segmentation,
)
