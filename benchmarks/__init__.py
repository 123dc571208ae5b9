"""Suites of runs, and measurements of speed."""
