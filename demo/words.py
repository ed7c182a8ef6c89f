"""A compact vocabulary for training: only the tokens that the captions use.

open_clip's tokenizer knows 49,408 tokens, the captions use a few hundred. Training holds embeddings
for those few; `expand` puts them back in their places for the checkpoint.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float, Int
from open_clip.tokenizer import SimpleTokenizer
from torch import Tensor


@dataclass(frozen=True)
class Words:
    """The tokens in use, and what each chunk of text between two spaces is made of.

    `ids` are open_clip's token ids, ascending, so that the order of ids (the end-of-text token is
    the highest) holds among compact ids too; compact id 0 is the padding.
    """

    ids: Int[np.ndarray, " compact"]
    context_length: int
    chunks: dict[str, list[int]] = field(repr=False)

    @property
    def start(self) -> int:
        """The compact id of the start-of-text token."""
        return len(self.ids) - 2

    @property
    def end(self) -> int:
        """The compact id of the end-of-text token."""
        return len(self.ids) - 1

    def encode(self, captions: list[str]) -> Int[Tensor, "caption context"]:
        """Compact token ids, as open_clip's tokenizer gives full ones.

        Raises KeyError on a chunk that `collect` was not given.
        """
        rows = np.zeros((len(captions), self.context_length), dtype=np.int64)
        for row, caption in zip(rows, captions, strict=True):
            tokens = [token for chunk in caption.lower().split() for token in self.chunks[chunk]]
            tokens = [self.start, *tokens[: self.context_length - 2], self.end]
            row[: len(tokens)] = tokens
        return torch.from_numpy(rows)

    def expand(
        self, weight: Float[Tensor, "compact width"], vocab_size: int
    ) -> Float[Tensor, "vocab width"]:
        """The embedding matrix for all tokens; those never trained get the mean of those that were.

        A word that no caption used then moves a text as little as an average word does.
        """
        full = weight.mean(0).repeat(vocab_size, 1)
        full[torch.from_numpy(self.ids)] = weight
        return full


def collect(texts: Iterable[str], context_length: int) -> Words:
    """The vocabulary of `texts`: every chunk between spaces, split by open_clip's tokenizer.

    The tokenizer never joins across a space, so tokenising chunk by chunk gives the same tokens.
    """
    tokenizer = SimpleTokenizer()
    full = {
        chunk: tokenizer.encode(chunk)
        for chunk in sorted({chunk for text in texts for chunk in text.lower().split()})
    }
    special = {0, tokenizer.sot_token_id, tokenizer.eot_token_id}
    ids = np.array(sorted(special.union(*full.values())), dtype=np.int64)
    compact = {int(token): index for index, token in enumerate(ids)}
    chunks = {chunk: [compact[token] for token in tokens] for chunk, tokens in full.items()}
    return Words(ids, context_length, chunks)
