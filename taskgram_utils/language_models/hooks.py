"""Changes to what a part of a network sees, for the length of a forward pass; the network itself stays as it is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def only_at(mlp: torch.nn.Module | None, rows: torch.Tensor, columns: torch.Tensor) -> Iterator[None]:
    """Let a feed-forward part see the states at ``rows`` and ``columns`` alone; elsewhere it gives zeros."""
    if mlp is None:
        yield
        return
    shapes = []

    def pick(_, args):
        shapes.append(args[0].shape)
        return (args[0][rows, columns][None],)

    def place(_, args, out):
        whole = out.new_zeros(shapes.pop())
        whole[rows, columns] = out[0]
        return whole

    hooks = mlp.register_forward_pre_hook(pick), mlp.register_forward_hook(place)
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def replaced_input(head: torch.nn.Module, change) -> Iterator[None]:
    """Let the output head see ``change(hidden states)``; what a model does with its logits stays its own."""
    hook = head.register_forward_pre_hook(lambda _, args: (change(args[0]),))
    try:
        yield
    finally:
        hook.remove()
