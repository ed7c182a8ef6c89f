"""The roles job on a scan whose heads' roles are known."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from llm_server import Script, serving
from planted import DOES, SHAPE, write_planted

from jobs.commands import publish
from jobs.commands.publish import PublishConfig
from jobs.commands.roles.build import RolesConfig, run
from jobs.commands.roles.set import RoleSetConfig
from jobs.commands.roles.set import run as run_set
from jobs.commands.textspan import TextSpanConfig
from jobs.commands.textspan import run as run_textspan
from schemas.errors import CorruptStore, UnknownName, UsageError
from schemas.results import KINDS
from schemas.results.manual_roles import MANUAL_ROLES, OLD_FILE
from warehouse.database.query import query
from warehouse.files.layout import Warehouse
from warehouse.results.files import read_result
from warehouse.store.pools import write_pool


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_planted(tmp_path)
    run_textspan(TextSpanConfig(warehouse=tmp_path, pool="plain", m=8))
    return tmp_path


def rows(root: Path, kind: str = "roles", name: str = "plain") -> list[dict[str, object]]:
    path = root / "scans" / "planted" / kind / f"{name}.parquet"
    return read_result(path)[0].to_pylist()


def test_planted_roles_are_found_and_noise_has_none(root: Path) -> None:
    done = run(RolesConfig(warehouse=root, bootstrap=5))
    assert (done.heads, done.clear) == (6, 4)
    found = {(r["layer"], r["head"]): r for r in rows(root)}
    for layer in SHAPE.layers:
        for head, role in enumerate(DOES):
            row = found[layer, head]
            assert row["role"] == role
            assert row["method"] == "enrichment"
            if role is None:
                assert "no clear role" in str(row["note"])
                assert row["stability"] is None
            else:
                assert row["q_value"] < 0.05
                assert row["stability"] == 1
    survival = rows(root, "stability")
    first = [r["survival"] for r in survival if r["rank"] == 0 and r["head"] < 2]
    assert len(first) == 4
    assert np.mean(first) > 0.3


def test_attributes_say_what_each_head_tells_apart(root: Path) -> None:
    done = run(RolesConfig(warehouse=root, turns=0))
    assert done.attributes == ("colour", "label", "number", "place")
    found = {
        (r["layer"], r["head"], r["attribute"]): r for r in rows(root, "attributes", "attributes")
    }
    for layer in SHAPE.layers:
        assert found[layer, 0, "colour"]["r2"] > 0.6
        assert found[layer, 0, "colour"]["p_value"] < 1e-10
        assert found[layer, 0, "colour"]["r2"] == found[layer, 0, "label"]["r2"]
        assert found[layer, 1, "place"]["r2"] > 0.6
        assert found[layer, 2, "place"]["r2"] < 0.1
        assert found[layer, 2, "place"]["p_value"] > 1e-4
        assert found[layer, 0, "number"]["groups"] == 10


def test_roles_set_by_hand_survive_rebuilds(root: Path) -> None:
    run(RolesConfig(warehouse=root, turns=0, attributes=False))
    run_set(RoleSetConfig(head="L1H2", role="glare", note="seen in 40 pictures", warehouse=root))
    for _ in range(2):
        (row,) = [r for r in rows(root) if r["method"] == "manual"]
        assert (row["layer"], row["head"], row["role"]) == (1, 2, "glare")
        assert row["p_value"] is None
        run(RolesConfig(warehouse=root, turns=0, attributes=False))
    run_set(RoleSetConfig(head="L1H2", remove=True, warehouse=root))
    assert not [r for r in rows(root) if r["method"] == "manual"]
    with pytest.raises(UnknownName, match="L9H0"):
        run_set(RoleSetConfig(head="L9H0", role="x", warehouse=root))
    with pytest.raises(UnknownName, match="set by hand"):
        run_set(RoleSetConfig(head="L1H2", remove=True, warehouse=root))
    with pytest.raises(UsageError, match="--remove"):
        run_set(RoleSetConfig(head="L1H2", warehouse=root))
    shutil.rmtree(root / "scans" / "planted" / MANUAL_ROLES)
    (root / "scans" / "planted" / OLD_FILE).write_text("{")
    with pytest.raises(CorruptStore, match="mend it by hand"):
        run(RolesConfig(warehouse=root, turns=0, attributes=False))


def named_from_texts(question: str) -> dict[str, object]:
    """Answer as a model that counts the property words in the texts it is given."""
    listed = question.split("Known roles")[0]
    words = re.findall(r"%  (\w+)", listed)[:3]
    best = max(set(words), key=words.count)
    if words.count(best) < 3:
        return {"role": "unclear", "confidence": 0.2, "why": "nothing in common"}
    return {"role": best.title(), "confidence": 0.9, "why": f"mostly about {best}\nindeed"}


def test_a_language_model_names_roles_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret-1234")
    script = Script(named_from_texts)
    with serving(script) as url:
        config = RolesConfig(warehouse=root, llm="tiny", base_url=url, attributes=False)
        done = run(config)
        assert run(config).agreement == done.agreement == 1.0
    assert sum(script.good.values()) == 6
    said = [r for r in rows(root) if r["method"] == "language model"]
    assert {r["role"] for r in said if r["head"] == 0} == {"colour"}
    assert all("\n" not in str(r["note"]) for r in said)
    stored = json.dumps(rows(root)) + str(read_result(done.path)[1])
    assert "sk-secret" not in stored


def test_the_examples_of_the_docs_answer_from_published_roles(root: Path) -> None:
    run(RolesConfig(warehouse=root, turns=0, bootstrap=3))
    publish.run(PublishConfig(warehouse=root))
    shown = [t for kind in ("roles", "attributes", "stability") for t in KINDS[kind].tables]
    answers = {t.name: query(Warehouse(root), t.example).to_pylist() for t in shown}
    assert {row["role"] for row in answers["head_roles"]} == {"colour", "place"}
    best = {row["attribute"]: row["best"] for row in answers["head_attributes"]}
    assert best["colour"] in ("L1H0", "L2H0")
    assert best["place"] in ("L1H1", "L2H1")
    assert len(answers["textspan_stability"]) == 6
    assert all(0 <= row["survival"] <= 1 for row in answers["textspan_stability"])


def test_a_changed_pool_or_an_unknown_basis_is_refused(root: Path) -> None:
    with pytest.raises(UnknownName, match="plain"):
        run(RolesConfig(warehouse=root, basis="other"))
    write_pool(Warehouse(root), "plain", ["new"], [None], source="x", provenance={})
    with pytest.raises(UsageError, match="has changed"):
        run(RolesConfig(warehouse=root))
