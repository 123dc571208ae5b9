"""The report as one HTML file: blocks as values (`blocks.py`), what fills them, and what draws them (`html.py`)."""
