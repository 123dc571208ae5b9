"""Exponential-moving-average teachers, complete: parameters move, floating-point buffers are copied."""

from __future__ import annotations

import copy
import math

import torch
from lightly.models.utils import deactivate_requires_grad, update_momentum
from torch import nn

# What the name of a teacher begins with, beside that of its student in the same module.
TEACHER = "teacher_"


def make_teacher(student: nn.Module) -> nn.Module:
    """A copy of `student` that no gradient reaches."""
    teacher = copy.deepcopy(student)
    deactivate_requires_grad(teacher)
    return teacher


@torch.no_grad()
def update_teacher(student: nn.Module, teacher: nn.Module, momentum: float) -> None:
    """Move the teacher's parameters towards the student's and copy its floating-point buffers.

    `update_momentum` leaves buffers alone, so that a teacher in eval mode would normalise with the batch
    statistics of the first step for ever.
    """
    update_momentum(student, teacher, m=momentum)
    for source, target in zip(student.buffers(), teacher.buffers(), strict=True):
        if target.is_floating_point():
            target.copy_(source)


def move_teachers(module: nn.Module, momentum: float) -> None:
    """`update_teacher` for each child of `module` called `teacher_NAME`, whose student is the child called `NAME`."""
    for name, teacher in module.named_children():
        if name.startswith(TEACHER):
            update_teacher(module.get_submodule(name.removeprefix(TEACHER)), teacher, momentum)


def cosine_momentum(start: float, end: float, progress: float) -> float:
    """A teacher's momentum when `progress` (in [0, 1]) of training is done: from `start` to `end` on half a cosine."""
    return end - (end - start) * (1.0 + math.cos(math.pi * progress)) / 2.0
