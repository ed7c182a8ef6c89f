"""Weights of a zero-shot classifier: the classes' prompts, embedded and averaged."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from pipeline.texts.zeroshot import PLAIN_TEMPLATE


def class_weights(
    encode: Callable[[list[str]], Float[Tensor, "text d_joint"]],
    names: Sequence[str],
    templates: Sequence[str] = PLAIN_TEMPLATE,
) -> Float[np.ndarray, "class d_joint"]:
    """Return unit-norm weights: the mean of each class's unit prompt embeddings, renormalised.

    Args:
        encode: texts to unit-norm embeddings.
        names: class names as they stand in a prompt.
        templates: with one `{}` each.
    """
    prompts = [template.replace("{}", name) for name in names for template in templates]
    embedded = encode(prompts).unflatten(0, (len(names), len(templates))).mean(dim=1)
    return torch.nn.functional.normalize(embedded, dim=-1).numpy()
