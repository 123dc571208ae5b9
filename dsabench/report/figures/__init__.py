"""Figures as functions of values: each takes a small dataclass of numbers and words and returns a matplotlib `Figure`.

Nothing here reads a file or knows a run, and no state of pyplot is touched: equal values give equal bytes.
"""
