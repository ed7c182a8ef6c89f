"""The contrastive loss with several positives per picture.

Captions mention random subsets of a picture's factors, so in any batch many captions are true of
many pictures ("a red scene"). Calling all but the picture's own caption wrong, as CLIP's loss does,
would teach the model that true captions are false.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def positives(
    pictures: Int[Tensor, "image factor"],
    captions: Int[Tensor, "caption factor"],
    mentions: Bool[Tensor, "caption factor"],
) -> Bool[Tensor, "image caption"]:
    """Which captions are true of which pictures: every factor that it mentions matches.

    `captions` holds the factors' values in the picture that each caption was written for.
    """
    same = pictures[:, None, :] == captions[None, :, :]
    return (same | ~mentions[None, :, :]).all(-1)


def contrastive(
    logits: Float[Tensor, "image caption"],
    positive: Bool[Tensor, "image caption"],
    counted: Bool[Tensor, "image caption"],
) -> Float[Tensor, ""]:
    """Both directions' cross-entropy against one joint distribution of pictures and captions.

    The joint draws a caption, then one of the pictures that it is true of: P(i, j) is proportional
    to 1/n_j, where caption j is true of n_j pictures of the batch. So a caption's target is uniform
    over its pictures, and a picture's target favours the captions that say much. The best logits
    are then log P(i, j)/(P(i) P(j)) = log 1/n_j and a constant, which for independent factors is a
    sum over the factors that the caption mentions: what a sum over heads can express.

    Pairs outside `counted` (nobody can say whether the caption is true of the picture) take no
    part. Every caption is true of its own picture, so no row or column is without a positive.
    """
    masked = logits.masked_fill(~counted, -torch.inf)
    joint = positive / positive.sum(0)
    parts = []
    for axis in (1, 0):
        target = joint / joint.sum(axis, keepdim=True)
        log_p = masked.log_softmax(axis).masked_fill(~positive, 0.0)
        parts.append(-(target * log_p).sum(axis).mean())
    return (parts[0] + parts[1]) / 2
