"""Shares of heads by the texts of one property, against a pursuit of these texts alone."""

import numpy as np

from pipeline.heads.concepts import concept_shares, layer_others
from tests.pipeline.heads.test_textspan import case, covariance, somp


def test_a_share_is_what_a_pursuit_of_these_texts_explains() -> None:
    cases = [case(seed) for seed in range(3)]
    pool = cases[0][2]
    about = {"colour": list(range(0, 150, 3)), "place": [1, 4, 7]}
    found = concept_shares(
        [covariance(v) for v, _, _ in cases], [q for _, q, _ in cases], pool, about, 5
    )
    assert found.properties == ("colour", "place") and found.texts.tolist() == [5, 3]
    for head, (vectors, q, _) in enumerate(cases):
        values = np.linalg.eigvalsh(covariance(vectors))[::-1]
        for column, (name, steps) in enumerate((("colour", 5), ("place", 3))):
            removed = somp(vectors, pool[about[name]] @ q, steps)[1]
            np.testing.assert_allclose(found.share[head, column], sum(removed) / values.sum())
            ceiling = values[:steps].sum() / values.sum()
            np.testing.assert_allclose(found.ceiling[head, column], ceiling)
            assert found.share[head, column] < ceiling


def test_others_are_the_rest_of_the_layer() -> None:
    share = np.arange(8.0).reshape(4, 2)
    found = layer_others(share, [3, 5, 3, 3])
    np.testing.assert_allclose(found[0], share[[2, 3]].mean(axis=0))
    np.testing.assert_allclose(found[3], share[[0, 2]].mean(axis=0))
    assert np.isnan(found[1]).all()
