"""DSA, the Dynamic Semantic Adjuster (arXiv 2407.13541)."""
