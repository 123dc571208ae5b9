"""One thread for torch in every test: more of them are slower on a shared machine, and side by side much slower."""

import torch

torch.set_num_threads(1)
