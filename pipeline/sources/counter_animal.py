"""CounterAnimal (arXiv 2403.11497): animals on usual and unusual grounds, told by their folders.

`INDEX CLASS/common-GROUND/picture` and `INDEX CLASS/counter-GROUND/picture`, as it is published.
"""

from collections.abc import Sequence
from dataclasses import replace

from pipeline.sources.folder import COUNTER_ANIMAL, Folder, is_counter_animal
from pipeline.sources.paths import PICTURE_SUFFIXES, Found
from pipeline.sources.request import FOLDER, Request, metadata_json
from schemas.errors import UsageError
from schemas.members import Member


class CounterAnimal(Folder):
    """The pictures, with their class as label and their ground and group as metadata."""

    name = "folder of CounterAnimal"
    expected = "a folder of CounterAnimal (INDEX CLASS/common-GROUND, counter-GROUND)"
    suffixes = PICTURE_SUFFIXES

    def claims(self, files: Sequence[Found], request: Request) -> list[Found]:
        """Return all of the files, where all of them lie so."""
        return list(files) if is_counter_animal(files) else []

    def members(self, files: Sequence[Found], request: Request) -> list[Member]:
        """List picture files, sorted by key.

        Their metadata: `class_index`, `group` (common or counter) and `ground`. With `--labels
        folder` the label is the class.

        Raises:
            UsageError: labels are asked of a column; the label is the class.
            DuplicateKey: two names are equal once written as UTF-8.
        """
        if request.labels not in (None, FOLDER):
            raise UsageError(
                f"--labels {request.labels}: the classes of CounterAnimal are its folders; write "
                "--labels folder: group and ground are metadata"
            )
        listed = super().members(files, replace(request, labels=None))
        return [_with_group(member, labelled=request.labels == FOLDER) for member in listed]


def _with_group(member: Member, *, labelled: bool) -> Member:
    match = COUNTER_ANIMAL.fullmatch(member.key)
    assert match is not None
    index, name, group, ground = match.groups()
    said = {"class_index": int(index), "group": group, "ground": ground}
    return replace(member, label=name if labelled else None, metadata=metadata_json(said))


FORMAT = CounterAnimal()
