"""Loading: the composition of batches depends on the pictures alone, not on threads or timing."""

import random
import threading
import time
from pathlib import Path

import open_clip
import pytest
import torch
from hostile import STORED, encoded, hostile_pictures, scene
from PIL import Image

from pipeline.pictures.decode import Rejected, decode
from pipeline.pictures.loader import Clock, Loaded, batches, by_table
from pipeline.sources import list_members
from pipeline.sources.reader import Reader
from schemas.members import Member

TRANSFORM = open_clip.image_transform(32, is_train=False)


def load(
    members: tuple[Member, ...], threads: int, batch_size: int = 5, ahead: int = 8
) -> list[Loaded]:
    with Reader() as reader:
        return list(
            batches(
                members,
                reader,
                TRANSFORM,
                batch_size=batch_size,
                threads=threads,
                ahead=ahead,
                clock=Clock(),
            )
        )


@pytest.fixture
def hostile(tmp_path: Path) -> tuple[tuple[Member, ...], dict[str, str]]:
    expected = hostile_pictures(tmp_path)
    return list_members(str(tmp_path)).members, expected


def test_every_member_is_in_a_batch_or_a_reject_in_order(hostile):
    members, expected = hostile
    loaded = load(members, threads=4)
    accepted = [m for batch in loaded for m in batch.members]
    rejects = {r.member.key: r.stage for batch in loaded for r in batch.rejects}
    assert [m.key for m in accepted] == [m.key for m in members if expected[m.key] == STORED]
    assert rejects == {key: fate for key, fate in expected.items() if fate != STORED}
    assert [len(batch.members) for batch in loaded[:-1]] == [5] * (len(loaded) - 1)
    assert all(r.reason for batch in loaded for r in batch.rejects)


@pytest.mark.parametrize("ahead", [1, 3, 100])
def test_batches_are_equal_for_any_number_of_threads(hostile, ahead):
    members, _ = hostile
    one, many = load(members, 1, ahead=ahead), load(members, 8, ahead=ahead)
    assert len(one) == len(many)
    for a, b in zip(one, many, strict=True):
        assert (a.members, a.rejects, a.widths, a.heights) == (
            b.members,
            b.rejects,
            b.widths,
            b.heights,
        )
        assert torch.equal(a.pixels, b.pixels)


def test_pixels_and_sizes_are_those_of_the_upright_picture(hostile):
    members, _ = hostile
    for batch in load(members, threads=2):
        for i, member in enumerate(batch.members):
            picture = decode(Path(member.uri).read_bytes())
            assert torch.equal(batch.pixels[i], TRANSFORM(picture))
            assert (batch.widths[i], batch.heights[i]) == picture.size
    rotated = next(m for m in members if m.key == "rotated.png")
    (batch,) = load((rotated,), threads=1)
    assert (batch.widths, batch.heights) == ((48,), (64,))


@pytest.mark.parametrize("mode", ["shortest", "longest", "squash"])
def test_the_table_equals_the_transform_bit_for_bit(mode):
    own = open_clip.image_transform(48, is_train=False, resize_mode=mode, interpolation="bilinear")
    for seed, size in enumerate([(64, 48), (20, 90), (48, 48), (1, 3)]):
        picture = scene(*size, seed=seed)
        assert torch.equal(by_table(own)(picture), own(picture))
    assert by_table(own) is not own
    assert by_table(own.transforms[0]) is own.transforms[0]


def test_rejects_alone_come_in_a_batch_without_pictures(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"")
    (batch,) = load(list_members(str(tmp_path)).members, threads=2)
    assert len(batch.members) == len(batch.pixels) == 0
    assert [r.member.key for r in batch.rejects] == ["a.jpg"]
    assert load((), threads=2) == []


class Slow(Reader):
    """A reader with erratic delays that counts how many pictures it was asked for."""

    def __init__(self, error: Exception | None = None) -> None:
        super().__init__()
        self.asked = 0
        self.error = error

    def read(self, member: Member) -> bytes:
        self.asked += 1
        time.sleep(random.Random(member.key).random() / 200)
        if self.error is not None and member.key.endswith("7.png"):
            raise self.error
        return encoded(scene(16, 16), "PNG")


def many(count: int) -> tuple[Member, ...]:
    return tuple(Member(f"{i:03d}.png", f"/nowhere/{i:03d}.png", "x") for i in range(count))


def stream(reader: Reader, members: tuple[Member, ...], transform=TRANSFORM, clock=None):
    return batches(
        members,
        reader,
        transform,
        batch_size=4,
        threads=3,
        ahead=6,
        clock=clock or Clock(),
    )


def decoding_threads() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name.startswith("decode")]


def test_reading_ahead_is_bounded_and_closing_stops_the_threads():
    reader = Slow()
    loaded = stream(reader, many(100))
    for batch in (next(loaded), next(loaded)):
        assert len(batch.members) == 4
    time.sleep(0.2)
    assert reader.asked <= 8 + 6
    loaded.close()
    assert not decoding_threads()
    asked = reader.asked
    time.sleep(0.05)
    assert reader.asked == asked


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), PermissionError(13, "no")])
def test_errors_of_reading_become_rejects(error):
    found = list(stream(Slow(error), many(20)))
    rejects = [r for batch in found for r in batch.rejects]
    assert [(r.member.key, r.stage) for r in rejects] == [("007.png", "read"), ("017.png", "read")]
    assert error.strerror in rejects[0].reason


def test_errors_of_the_program_propagate_and_stop_the_threads():
    with pytest.raises(RuntimeError, match="a bug"):
        list(stream(Slow(RuntimeError("a bug")), many(20)))
    assert not decoding_threads()


def test_a_picture_that_cannot_be_resized_is_rejected(tmp_path):
    Image.new("RGB", (1, 400)).save(tmp_path / "strip.png")
    Image.new("RGB", (40, 40)).save(tmp_path / "whole.png")
    longest = open_clip.image_transform(32, is_train=False, resize_mode="longest")
    with Reader() as reader:
        (batch,) = stream(reader, list_members(str(tmp_path)).members, longest)
    fates = {m.key: "stored" for m in batch.members} | {
        r.member.key: r.stage for r in batch.rejects
    }
    assert fates == {"strip.png": "decode", "whole.png": "stored"}


def test_the_clock_counts_reading_and_decoding():
    clock = Clock()
    list(stream(Slow(), many(20), clock=clock))
    assert clock.read > 0.01
    assert clock.decode > 0.001


def test_a_verdict_is_one_line():
    assert Rejected("read", "two\n lines ").reason == "two lines"
    assert Rejected("read", "").reason
