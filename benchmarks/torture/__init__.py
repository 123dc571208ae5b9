"""Harm done on purpose: `python -m benchmarks.torture` kills, damages, fills, crowds and deceives, and counts what is lost."""
