"""A folder of pictures: the key is the path below it, the label its first folder."""

from collections.abc import Sequence

from pipeline.sources.paths import Found
from pipeline.sources.request import (
    FOLDER,
    Request,
    folder_label,
    refuse_options,
    require_unique,
)
from schemas.errors import UsageError
from schemas.members import Member


def members(files: Sequence[Found], request: Request) -> list[Member]:
    """List picture files, sorted by key.

    Raises:
        UsageError: labels are asked of a column; a folder has none.
        DuplicateKey: two names are equal once written as UTF-8.
    """
    refuse_options(
        request, "a folder of pictures", path_column=request.path_column, root=request.root
    )
    if request.labels not in (None, FOLDER):
        raise UsageError(
            f"--labels {request.labels}: a folder of pictures has no columns; write --labels "
            "folder, or give a listing"
        )
    labels: dict[str, str] = {}
    listed = []
    for file in files:
        label = folder_label(file.name) if request.labels else None
        # one string object per label, not one per picture
        label = None if label is None else labels.setdefault(label, label)
        listed.append(Member(file.name, file.uri, file.version, label))
    require_unique(listed)
    listed.sort(key=lambda member: member.key)
    return listed
