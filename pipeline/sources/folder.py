"""A folder of pictures: the key is the path below it, the label its first folder."""

import re
from collections.abc import Sequence

from pipeline.sources.base import Format
from pipeline.sources.paths import PICTURE_SUFFIXES, Found
from pipeline.sources.request import (
    FOLDER,
    Request,
    refuse_options,
    require_unique,
    with_folder_labels,
)
from schemas.errors import SourceError, UsageError
from schemas.members import Member

# INDEX CLASS/common-GROUND/picture, or counter-GROUND.
COUNTER_ANIMAL = re.compile(r"(?:.*/)?(\d+) ([^/]+)/(common|counter)-([^/]+)/[^/]+")


class Folder(Format):
    """Pictures that are files of their own."""

    name = "folder of pictures"
    expected = "a folder of pictures (jpg, png, webp, gif, bmp, tiff, ...)"
    suffixes = PICTURE_SUFFIXES

    def claims(self, files: Sequence[Found], request: Request) -> list[Found]:
        """Return the files, unless a data set that says more of them by their folders does."""
        return [] if is_counter_animal(files) else list(files)

    def members(self, files: Sequence[Found], request: Request) -> list[Member]:
        """List picture files, sorted by key.

        Raises:
            SourceError: the source is one picture.
            UsageError: labels are asked of a column; a folder has none.
            DuplicateKey: two names are equal once written as UTF-8.
        """
        if len(files) == 1 and request.source.endswith(files[0].name):
            raise SourceError(f"{request.source} is one picture; give the folder that holds it")
        refuse_options(
            request, "a folder of pictures", path_column=request.path_column, root=request.root
        )
        if request.labels not in (None, FOLDER):
            raise UsageError(
                f"--labels {request.labels}: a folder of pictures has no columns; write --labels "
                "folder, or give a listing"
            )
        listed = [Member(file.name, file.uri, file.version) for file in files]
        if request.labels == FOLDER:
            listed = with_folder_labels(listed, lambda member: member.key, request)
        require_unique(listed)
        listed.sort(key=lambda member: member.key)
        return listed


def is_counter_animal(files: Sequence[Found]) -> bool:
    """Whether files lie as CounterAnimal's do, all of them."""
    return bool(files) and all(COUNTER_ANIMAL.fullmatch(file.name) for file in files)


FORMAT = Folder()
