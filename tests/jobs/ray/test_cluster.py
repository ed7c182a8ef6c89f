"""Ray at the edge: shares, retries, failures, and a cluster that was started elsewhere."""

import os
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from ray import cloudpickle

from jobs.ray.cluster import Resources, Share, run_tasks, share_out
from schemas.errors import DecompositionError, UsageError

# the tests are no package that workers can import
cloudpickle.register_pickle_by_value(sys.modules[__name__])


class Doubler:
    """A worker that doubles; some numbers it cannot bear, and one kills its process once."""

    def __init__(self, marks: Path) -> None:
        self.marks, self.done = marks, 0

    def __call__(self, task: int) -> int:
        if task == 3:
            raise ValueError("three is too many\nsecond line")
        if task == 5 and not (self.marks / "died").exists():
            (self.marks / "died").touch()
            os._exit(1)
        if task == 99:
            raise DecompositionError("the parts do not sum")
        return 2 * task


@pytest.mark.usefixtures("ray_session")
def test_failures_are_reported_deaths_are_retried_and_the_rest_goes_on(tmp_path: Path) -> None:
    found: list[int] = []
    failures = run_tasks(
        partial(Doubler, tmp_path),
        list(range(7)),
        Share(1, 1, 0),
        finished=found.append,
        advanced=lambda done: None,
    )
    assert sorted(found) == [0, 2, 4, 8, 10, 12]
    assert [(f.task, f.reason) for f in failures] == [(3, "ValueError: three is too many")]
    assert (tmp_path / "died").exists()


@pytest.mark.usefixtures("ray_session")
def test_an_error_that_meets_every_task_stops_the_run(tmp_path: Path) -> None:
    with pytest.raises(DecompositionError, match="do not sum"):
        run_tasks(
            partial(Doubler, tmp_path),
            [99] * 5,
            Share(1, 1, 0),
            finished=lambda result: None,
            advanced=lambda done: None,
        )


@pytest.mark.parametrize(
    ("have", "workers", "gpus", "share"),
    [
        (Resources(2, 0), None, None, Share(1, 2, 0)),
        (Resources(16, 0), None, None, Share(4, 4, 0)),
        (Resources(16, 0), 8, None, Share(8, 2, 0)),
        (Resources(16, 2), None, None, Share(2, 8, 1)),
        (Resources(16, 2), None, 0.5, Share(4, 4, 0.5)),
        (Resources(16, 2), None, 0, Share(4, 4, 0)),
    ],
)
def test_the_cluster_is_shared_out(
    have: Resources, workers: int | None, gpus: float | None, share: Share
) -> None:
    assert share_out(have, workers, gpus) == share


@pytest.mark.parametrize(("workers", "gpus"), [(3, None), (None, 1.0)])
def test_more_than_there_is_is_refused(workers: int | None, gpus: float | None) -> None:
    with pytest.raises(UsageError, match="per-worker"):
        share_out(Resources(2, 0), workers, gpus)


@pytest.fixture
def head(tmp_path: Path) -> Iterator[str]:
    """A Ray head started by another program, in another folder."""
    port = "26379"
    ray = Path(sys.executable).with_name("ray")
    start = [
        str(ray),
        "start",
        "--head",
        f"--port={port}",
        "--num-cpus=2",
        "--include-dashboard=false",
    ]
    environment = {**os.environ, "RAY_AUTH_MODE": "disabled"}
    subprocess.run(
        start, cwd=tmp_path, env=environment, check=True, capture_output=True, timeout=120
    )
    yield f"127.0.0.1:{port}"
    subprocess.run([str(ray), "stop", "--force"], check=True, capture_output=True, timeout=120)


@pytest.mark.slow
def test_packages_travel_to_a_cluster_started_elsewhere(
    head: str, world: Path, tiny_config: Path, tmp_path: Path
) -> None:
    """The workers of that cluster import the packages that travelled, not those installed."""
    program = """
import sys
from functools import partial
from pathlib import Path
from jobs.cluster import cluster, run_tasks, Share
import jobs

class Where:
    def __init__(self): self.done = 0
    def __call__(self, task):
        import jobs, pipeline, warehouse
        return [m.__file__ for m in (jobs, pipeline, warehouse)]

found = []
with cluster(sys.argv[1]):
    failures = run_tasks(Where, [1], Share(1, 1, 0), finished=found.append, advanced=lambda n: None)
assert not failures, failures
assert all("py_modules" in path for path in found[0]), found
"""
    environment = {**os.environ, "RAY_AUTH_MODE": "disabled"}
    done = subprocess.run(
        [sys.executable, "-c", program, head],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    command = [sys.executable, "-c", "from jobs.cli import main; main()", "scan", str(world)]
    options = ["--path-column", "img_filename", "--model", str(tiny_config), "--no-publish"]
    options += ["--warehouse", str(tmp_path / "w"), "--ray-address", head]
    done = subprocess.run(
        [*command, *options],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
