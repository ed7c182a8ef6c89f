"""Scans of a listing whose pictures lie on servers: resumed, and unchanged while one is away."""

from pathlib import Path

import pytest

from jobs.commands import scan
from pipeline.sources import remote
from tests.conftest import scan_config
from tests.hostile import encoded, scene
from tests.picture_server import serving

FILES = {f"{i}.png": encoded(scene(seed=i), "PNG") for i in range(6)}


def test_what_failed_is_tried_again_and_a_server_that_is_away_changes_nothing(
    tmp_path: Path, tiny_config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = {"CONNECT": 1.0, "IDLE": 0.3, "GRACE": 1.0, "PAUSE": 0.01, "REST": 0.5}
    for name, seconds in quick.items():
        monkeypatch.setattr(remote, name, seconds)
    monkeypatch.setattr(remote, "HOSTS", remote._Hosts())
    source, root = tmp_path / "l.csv", tmp_path / "w"

    def run() -> tuple[int, int, int]:
        options = {"path_column": None, "labels": None, "workers": 0}
        done = scan.run(scan_config(source, tiny_config, root, **options))
        return done.images, done.rejects, done.scanned

    with serving({name: data for name, data in FILES.items() if name != "2.png"}) as served:
        paths = [f"{served.url}/ok/{name}" for name in FILES]
        paths.append(f"{served.url}/hang/0.png")
        source.write_text("\n".join(["url", *paths]))
        assert run() == (5, 2, 7)
        served.files["2.png"] = FILES["2.png"]
        # only what could not be read is read again
        asked = served.asked["GET", "/ok/1.png"]
        assert run() == (6, 1, 2)
        assert served.asked["GET", "/ok/1.png"] == asked == 1
    # the server is gone: what is stored stays
    images, rejects, _ = run()
    assert (images, rejects) == (6, 1)
