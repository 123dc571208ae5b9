"""Harm done on purpose: what kills, damages, fills, crowds and deceives, and what is lost by it."""
