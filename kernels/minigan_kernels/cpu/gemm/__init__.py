"""Matrix products of our own, many small ones side by side, and their microkernels."""
