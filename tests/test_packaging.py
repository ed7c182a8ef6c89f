"""Files that only others run (hosted CI, the image, the citation) name what is there."""

import re
import subprocess
import tomllib
from pathlib import Path

import yaml

from headatlas import PACKAGES

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def tracked() -> set[str]:
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True)
    return set(done.stdout.split())


def test_hosted_ci_runs_what_is_there_on_the_pythons_that_are_claimed() -> None:
    job = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]["test"]
    ran = [step["run"] for step in job["steps"] if "run" in step]
    assert ran == [".ci/run"]
    assert ".ci/run" in tracked() and (ROOT / ".ci/run").stat().st_mode & 0o111
    (setup,) = (step for step in job["steps"] if "setup-python" in step.get("uses", ""))
    assert setup["with"]["cache-dependency-path"] in tracked()
    claimed = re.findall(r"Python :: (3\.\d+)", "\n".join(PROJECT["classifiers"]))
    assert job["strategy"]["matrix"]["python"] == claimed
    targets = re.findall(r"^make ([a-z-]+)$", (ROOT / ".ci/run").read_text(), re.MULTILINE)
    makefile = (ROOT / "Makefile").read_text()
    assert targets and all(re.search(rf"^{name}:", makefile, re.MULTILINE) for name in targets)


def test_the_image_is_made_of_files_packages_and_extras_that_are_there() -> None:
    text = (ROOT / "Containerfile").read_text()
    copied = [w for line in re.findall(r"^COPY (.*)$", text, re.MULTILINE) for w in line.split()]
    sources = [word for word in copied if word in tracked()]
    assert {"pyproject.toml", "constraints.txt", *PROJECT["license-files"]} <= set(sources)
    assert {w for w in copied if w not in sources} == {"./", ".", "headatlas/"}
    (stubs,) = re.findall(r"for name in ([a-z ]+);", text)
    assert {*stubs.split(), "headatlas"} == {*PACKAGES, "headatlas"}
    (extras,) = re.findall(r"'\.\[([a-z,]+)\]'", text)
    assert set(extras.split(",")) <= PROJECT["optional-dependencies"].keys()
    assert {PROJECT["readme"], *PROJECT["license-files"]} <= set(sources)


def test_it_is_cited_as_it_is() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert (cited["version"], cited["license"]) == (PROJECT["version"], PROJECT["license"])
    assert cited["license"] == "Apache-2.0"
    assert "Apache License" in (ROOT / "LICENSE").read_text()
    assert {"title", "authors", "message", "cff-version"} <= cited.keys()
