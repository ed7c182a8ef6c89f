"""What HeadAtlas costs, measured: `make bench` prints one table; ratios come from one run."""
