"""dsabench: how crowded are self-supervised features, and what removes the crowding?"""

__version__ = "0.1.0"
