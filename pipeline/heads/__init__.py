"""What heads write: decomposition, frames, moments, TextSpan, ablation, retrieval."""
