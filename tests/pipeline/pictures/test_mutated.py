"""Whatever a picture's bytes are: rows in = stored + rejects, within the budget of pixels."""

from pathlib import Path

import open_clip
import pytest

from pipeline.pictures import loader
from pipeline.pictures.decode import Decoding
from pipeline.pictures.loader import Clock, batches
from pipeline.sources import list_members
from pipeline.sources.reader import Reader
from tests.mutated import KINDS, write_mutants

TRANSFORM = open_clip.image_transform(32, is_train=False)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("how", [Decoding(), Decoding(on_white=True, reach=64)])
def test_rows_in_are_stored_or_rejected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, how: Decoding
) -> None:
    monkeypatch.setattr(loader, "BUDGET", 1 << 20)
    members = list_members(str(write_mutants(tmp_path, kind, 300))).members
    assert len(members) == 300
    with Reader() as reader:
        loaded = list(
            batches(
                members,
                reader,
                TRANSFORM,
                batch_size=16,
                threads=4,
                ahead=32,
                clock=Clock(),
                how=how,
            )
        )
    stored = [m.key for batch in loaded for m in batch.members]
    rejects = [r for batch in loaded for r in batch.rejects]
    assert sorted(stored + [r.member.key for r in rejects]) == sorted(m.key for m in members)
    assert len(stored) > 30 and len(rejects) > 30
    assert all((r.reason and r.stage == "decode") or "no image bytes" in r.reason for r in rejects)
