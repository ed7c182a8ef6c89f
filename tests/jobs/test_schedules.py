"""The examples of schedules: what they run exists, and only what may go better is tried again."""

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from jobs.commands.refresh import Night
from jobs.commands.scan import ScanConfig
from schemas.config import load_yaml

FOLDER = Path(__file__).parents[2] / "jobs" / "schedules"
JOBS = ("rayjob.yaml", "raycronjob.yaml")


def job_of(name: str) -> dict[str, Any]:
    document = yaml.safe_load((FOLDER / name).read_text())
    found: dict[str, Any] = document["spec"].get("jobTemplate", document["spec"])
    return found


def on_path(folder: Path, name: str, script: str) -> dict[str, str]:
    """Return an environment in which `name` is this script."""
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}


@pytest.mark.parametrize("name", JOBS)
@pytest.mark.parametrize(("code", "runs"), [(0, 1), (1, 3), (2, 1), (3, 1), (4, 1)])
def test_only_a_failure_is_tried_again(name: str, code: int, runs: int, tmp_path: Path) -> None:
    job = job_of(name)
    # no one else tries again: neither KubeRay with a new cluster, nor Kubernetes the submitter
    assert job["backoffLimit"] == job["submitterConfig"]["backoffLimit"] == 0
    on_path(tmp_path, "sleep", "exit 0")
    env = on_path(tmp_path, "headatlas", f'echo "$@" >> {tmp_path}/calls; exit {code}')
    done = subprocess.run(job["entrypoint"], shell=True, env=env, timeout=30, check=False)
    calls = (tmp_path / "calls").read_text().splitlines()
    assert (done.returncode, calls) == (code, ["refresh /mnt/atlas/night.yaml"] * runs)


def test_submit_hands_the_refresh_to_ray(tmp_path: Path) -> None:
    env = on_path(tmp_path, "ray", f'echo "$@" > {tmp_path}/calls; exit 4')
    done = subprocess.run([FOLDER / "submit.sh", "n.yaml"], env=env, timeout=30, check=False)
    said = (tmp_path / "calls").read_text().strip()
    assert (done.returncode, said) == (
        4,
        "job submit --address http://head:8265 -- headatlas refresh n.yaml",
    )


def test_the_example_of_a_night_is_one() -> None:
    night = Night.checked(load_yaml(FOLDER / "night.yaml"))
    ScanConfig.checked({"warehouse": night.warehouse, **night.scan})
