"""Convolutions over small maps as one matrix product, on processors that multiply bfloat16 natively.

oneDNN's gradient of a kernel over a map of 3 x 3 or 6 x 6 takes several times as long as the product of the two
matrices that it is: of a ResNet18's step at 96 px, a third. Maps that large or larger are left to oneDNN, which is
better at them.
"""

from typing import Any

import torch
from torch import nn
from torch.nn import functional

# Positions per picture up to which the product wins, for kernels of 3 x 3; measured on 2 cores of a Sapphire Rapids.
MOST_POSITIONS = 49


class _Product(torch.autograd.Function):
    """conv2d of channels-last bfloat16 by unfolding; the unfolded pictures are kept for the kernel's gradient."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, stride: int, padding: int) -> torch.Tensor:
        n, channels, height, width = x.shape
        outputs, _, side, _ = weight.shape
        rows = functional.pad(x.permute(0, 2, 3, 1), (0, 0, padding, padding, padding, padding)).contiguous()
        h, w = ((length + 2 * padding - side) // stride + 1 for length in (height, width))
        sn, sh, sw, sc = rows.stride()
        windows = rows.as_strided((n, h, w, side, side, channels), (sn, sh * stride, sw * stride, sh, sw, sc))
        unfolded = windows.reshape(n * h * w, side * side * channels)
        kernel = weight.permute(0, 2, 3, 1).reshape(outputs, -1)
        ctx.save_for_backward(x, weight, unfolded)
        ctx.stride, ctx.padding = stride, padding
        return (unfolded @ kernel.t()).view(n, h, w, outputs).permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor, None, None]:
        (gradient,) = gradients
        x, weight, unfolded = ctx.saved_tensors
        outputs, channels, side, _ = weight.shape
        stride, padding = [ctx.stride] * 2, [ctx.padding] * 2
        of_x, _, _ = torch.ops.aten.convolution_backward(
            gradient,
            x,
            weight,
            None,
            stride,
            padding,
            [1, 1],
            False,
            [0, 0],
            1,
            [ctx.needs_input_grad[0], False, False],
        )
        of_rows = gradient.permute(0, 2, 3, 1).reshape(-1, outputs)
        of_weight = (of_rows.t() @ unfolded).view(outputs, side, side, channels).permute(0, 3, 1, 2)
        return of_x, of_weight, None, None


class SmallMapConv2d(nn.Conv2d):
    """nn.Conv2d that takes the product where it is faster."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        stride = self.stride[0]
        small = input.shape[2] * input.shape[3] <= MOST_POSITIONS * stride * stride
        if not (small and self.training and torch.is_grad_enabled()):
            return super().forward(input)
        result: torch.Tensor = _Product.apply(input.bfloat16(), self.weight.bfloat16(), stride, int(self.padding[0]))
        return result


def use_products(model: nn.Module) -> None:
    """Lets each plain 3 x 3 convolution of `model` choose; names and weights stay as they are."""
    for module in model.modules():
        if (
            type(module) is nn.Conv2d
            and module.kernel_size == (3, 3)
            and module.padding == (1, 1)
            and module.dilation == (1, 1)
            and module.stride[0] == module.stride[1]
            and module.groups == 1
            and module.bias is None
        ):
            module.__class__ = SmallMapConv2d
