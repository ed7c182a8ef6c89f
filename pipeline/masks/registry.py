"""Pictures with masks: whichever layout of `pipeline/masks/` recognises a folder or file."""

import pkgutil
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Final

from pipeline import masks
from pipeline.masks.base import IGNORE, Example, Labelled, Layout, Request
from schemas.errors import SourceError, UsageError

__all__ = ["IGNORE", "LAYOUTS", "Example", "Labelled", "open_data"]


def _layouts() -> tuple[Layout, ...]:
    files = [file.name for file in pkgutil.iter_modules(masks.__path__, f"{masks.__name__}.")]
    modules = [import_module(name) for name in files if name != __name__]
    found: list[Layout] = [module.LAYOUT for module in modules if hasattr(module, "LAYOUT")]
    # the general ones first, as messages list them
    return tuple(sorted(found, key=lambda one: not one.takes))


LAYOUTS: Final = _layouts()
"""Every layout, those that take options first."""


def open_data(
    root: Path, labels: str | None = None, classes: Sequence[str] = (), *, class_masks: bool = False
) -> Labelled:
    """Recognise a data set by its files.

    Args:
        root: its folder or file.
        labels: column of metadata.csv, for folder pairs.
        classes: names that can be asked for; default, the labels or the data set's own. For
            ImageNet-Segmentation and ImageNet-S, the names of the synsets in sorted order.
        class_masks: the masks of folder pairs hold classes, from 1 in the order of `classes`.

    Raises:
        SourceError: it is none of the layouts or two of them, or a part is missing.
        UsageError: no class names are known, or an option does not go with the layout.
    """
    expected = ", ".join(one.expected for one in LAYOUTS[:-1]) + f", or {LAYOUTS[-1].expected}"
    if not root.exists():
        raise SourceError(f"{root} does not exist; expected {expected}")
    given = {"labels": labels is not None, "masks": class_masks}
    found = [one for one in LAYOUTS if one.claims(root)]
    for name in [name for name, there in given.items() if there]:
        takers = [one for one in LAYOUTS if name in one.takes]
        if not set(found) & set(takers):
            only = " or ".join(one.expected for one in takers)
            raise UsageError(f"{name}: only a folder with {only} takes it, not {root}")
    if not found:
        raise SourceError(f"{root}: expected {expected}")
    if len(found) > 1:
        said = " and ".join(one.expected for one in found)
        raise SourceError(f"{root} is laid out in two ways, {said}; move one of them elsewhere")
    return found[0].open(Request(root, labels, tuple(classes), class_masks))
