"""Heads of the text tower by the word that they read, gathered batch by batch."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Float, Int
from torch import Tensor

from pipeline.heads.by_token import token_vectors
from pipeline.heads.decompose import Decomposer
from pipeline.texts.words import Word, words_of
from pipeline.towers.text_tower import TextTower, read_first
from schemas.files import vector_of
from schemas.results.text_words import text_words_schema
from warehouse.results.files import stream_result


class WordRows:
    """Rows of text_words: the words of texts, and of each head what it reads from each.

    Words that the token read cannot see, as padding behind a causal mask, are left out.

    Attributes:
        words: of all texts added, in order, with the text and the place of each.
    """

    def __init__(self, decomposer: Decomposer, tokenizer: Any) -> None:
        """Take the decomposer of a text tower, and its model's tokenizer."""
        assert isinstance(decomposer.tower, TextTower)
        self.tower, self.decomposer = decomposer.tower, decomposer
        self.tokenizer = getattr(tokenizer, "loaded", tokenizer)
        self.words: list[tuple[int, int, str]] = []
        self.vectors: dict[int, list[np.ndarray]] = {layer: [] for layer in decomposer.layers}
        self.shares: dict[int, list[np.ndarray]] = {layer: [] for layer in decomposer.layers}

    def add(self, ids: Int[Tensor, "text place"], first: int) -> None:
        """Add a batch of texts, numbered from `first`."""
        split = token_vectors(self.decomposer, ids)
        embedding = self.decomposer(ids).embedding
        tokens = next(iter(split.values())).shape[2]
        place = self.tower.place(ids)
        order = read_first(place, tokens)
        of = self._seen(ids, place, tokens)
        group = torch.zeros(len(ids), tokens, dtype=torch.long)
        texts: list[int] = []
        for row, words in enumerate(of):
            for at, word in enumerate(words):
                group[row, list(word.tokens)] = len(texts)
                texts.append(row)
                self.words.append((first + row, at, word.text))
        which, text_of = group.flatten().to(ids.device), torch.tensor(texts, device=ids.device)
        for layer, each in split.items():
            own = each.gather(2, order[:, None, :, None].expand_as(each)).transpose(0, 1)
            summed = own.new_zeros(len(own), len(texts), own.shape[3])
            summed.index_add_(1, which, own.flatten(1, 2))
            share = shares_of(summed, embedding[text_of], self.decomposer.q[layer])
            self.vectors[layer].append(summed.half().cpu().numpy())
            self.shares[layer].append(share.float().cpu().numpy())

    def _seen(
        self, ids: Int[Tensor, "text place"], place: Int[Tensor, " text"], tokens: int
    ) -> list[list[Word]]:
        """Return each text's words of which the token read sees some token."""
        mask = self.tower.mask(ids)
        if mask is None:
            seen = np.ones((len(ids), tokens), bool)
        else:
            rows = torch.arange(len(ids), device=ids.device)
            seen = torch.isfinite(mask[rows, place]).cpu().numpy()
        return [
            [w for w in words_of(self.tokenizer, row, tokens) if seen[i, list(w.tokens)].any()]
            for i, row in enumerate(ids.tolist())
        ]

    def write(self, path: Path, provenance: dict[str, Any]) -> None:
        """Write the file, one row group per head."""
        vectors = {layer: np.concatenate(own, axis=1) for layer, own in self.vectors.items()}
        shares = {layer: np.concatenate(own, axis=1) for layer, own in self.shares.items()}
        width = next(iter(vectors.values())).shape[2]
        schema = text_words_schema(width)
        ids, places, words = zip(*self.words, strict=True) if self.words else ((), (), ())
        columns = {"description_id": ids, "place": places, "word": words}
        with stream_result(path, schema, provenance) as writer:
            for layer, heads in vectors.items():
                for head, own in enumerate(heads):
                    more = {**columns, "share": shares[layer][head]}
                    writer.write_table(head_rows(layer, head, own, more, schema))


def shares_of(
    vectors: Float[Tensor, "head row d_head"],
    embedding: Float[Tensor, "row d_joint"],
    q: Float[Tensor, "head d_joint d_head"],
) -> Float[Tensor, "head row"]:
    """Return ⟨c, e⟩ of each head's vectors with the embedding of the text that each is of."""
    return (vectors * torch.einsum("rj,hjd->hrd", embedding, q)).sum(dim=2)


def head_rows(
    layer: int,
    head: int,
    vectors: Float[np.ndarray, "row d_head"],
    columns: dict[str, Any],
    schema: pa.Schema,
) -> pa.Table:
    """Return one head's rows of a file of vectors; `columns` are the others."""
    flat = pa.array(np.ascontiguousarray(vectors, np.float16).ravel())
    kind = vector_of(pa.float16(), vectors.shape[1])
    every = {
        "layer": np.full(len(vectors), layer, np.int16),
        "head": np.full(len(vectors), head, np.int16),
        "vector": pa.FixedSizeListArray.from_arrays(flat, type=kind),
        **columns,
    }
    return pa.table({name: every[name] for name in schema.names}, schema=schema)
