"""From bytes to batches: decoding within bounds, and loading ahead of the model."""
