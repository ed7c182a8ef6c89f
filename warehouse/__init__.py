"""Where it is kept and how it is asked: the shard store, publishing, queries. No torch, no Ray."""
