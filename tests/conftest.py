"""One thread for torch in every test: more of them are slower on a shared machine, and side by side much slower.

Hypothesis draws the same examples every time, so that a failure is one for everybody; `make torture` draws new ones.
"""

import os

import torch
from hypothesis import settings

torch.set_num_threads(1)
settings.register_profile("fixed", derandomize=True, deadline=None)
settings.register_profile("torture", deadline=None, print_blob=True)
settings.load_profile("torture" if os.environ.get("TORTURE") else "fixed")
