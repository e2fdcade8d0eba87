from collections.abc import Callable

import pytest
import torch
from torch import nn

from training.learning.model import build
from training.learning.small_maps import MOST_POSITIONS, SmallMapConv2d, _Product, use_products


def pair(inputs: int, outputs: int, stride: int) -> tuple[nn.Conv2d, SmallMapConv2d]:
    """The same convolution twice, of kernels that bfloat16 holds exactly."""
    torch.manual_seed(0)
    plain = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False).to(memory_format=torch.channels_last)
    with torch.no_grad():
        plain.weight.copy_(plain.weight.bfloat16().float())
    ours = SmallMapConv2d(inputs, outputs, 3, stride, 1, bias=False).to(memory_format=torch.channels_last)
    ours.load_state_dict(plain.state_dict())
    return plain, ours


def map_of(n: int, channels: int, height: int, width: int) -> torch.Tensor:
    x = torch.randn(n, channels, height, width).bfloat16().float()
    return x.to(memory_format=torch.channels_last).requires_grad_()


@pytest.fixture
def products(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """The shapes of the maps that are taken as products."""
    seen: list[tuple[int, ...]] = []
    apply: Callable[..., torch.Tensor] = _Product.apply

    def watched(x: torch.Tensor, *others: object) -> torch.Tensor:
        seen.append(tuple(x.shape))
        return apply(x, *others)

    monkeypatch.setattr(_Product, "apply", watched)
    return seen


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [(7, 7), (6, 6), (3, 3), (5, 4), (1, 1), (2, 7)])
def test_the_product_and_both_its_gradients_are_those_of_conv2d(
    size: tuple[int, int], stride: int, products: list[tuple[int, ...]]
) -> None:
    plain, ours = pair(16, 24, stride)
    x = map_of(4, 16, *size)
    same = x.detach().clone().requires_grad_()
    wanted = plain(x)
    got = ours(same)
    assert products == [(4, 16, *size)]
    assert (got.shape, got.dtype) == (wanted.shape, torch.bfloat16)
    gradient = torch.randn_like(wanted).bfloat16().float()
    wanted.backward(gradient)
    got.backward(gradient.bfloat16())
    assert x.grad is not None
    assert same.grad is not None
    assert plain.weight.grad is not None
    assert ours.weight.grad is not None
    # bfloat16 keeps 8 bits of a sum of up to 9 x 24 products, which is added in float32. On a processor with AVX2 and
    # without AVX-512 the error was 1.08 * 2**-7.
    for ours_, theirs in ((got, wanted), (same.grad, x.grad), (ours.weight.grad, plain.weight.grad)):
        error = (ours_.float() - theirs).abs().max() / theirs.abs().max()
        assert error < 2**-6


def test_a_gradient_that_does_not_lie_channels_last_is_taken_too() -> None:
    plain, ours = pair(8, 8, 1)
    x = map_of(2, 8, 4, 4)
    gradient = torch.randn(2, 8, 4, 4).bfloat16().float().contiguous()
    (wanted,) = torch.autograd.grad(plain(x), plain.weight, gradient)
    (got,) = torch.autograd.grad(ours(x), ours.weight, gradient.bfloat16())
    torch.testing.assert_close(got, wanted, rtol=0.02, atol=0.05)


def test_a_map_that_needs_no_gradient_gets_none_and_its_kernel_does() -> None:
    _, ours = pair(8, 8, 1)
    ours(map_of(2, 8, 4, 4).detach()).sum().backward()
    assert ours.weight.grad is not None


@pytest.mark.parametrize(("side", "stride", "taken"), [(7, 1, True), (8, 1, False), (14, 2, True), (15, 2, False)])
def test_large_maps_are_left_to_conv2d(side: int, stride: int, taken: bool, products: list[tuple[int, ...]]) -> None:
    assert MOST_POSITIONS == 49
    plain, ours = pair(8, 8, stride)
    x = map_of(2, 8, side, side)
    answer = ours(x)
    assert bool(products) is taken
    if not taken:
        assert torch.equal(answer, plain(x))


def test_answers_in_evaluation_and_without_gradients_are_conv2ds_to_the_bit(products: list[tuple[int, ...]]) -> None:
    plain, ours = pair(8, 8, 1)
    x = map_of(2, 8, 4, 4)
    assert torch.equal(ours.eval()(x), plain(x))
    with torch.no_grad():
        assert torch.equal(ours.train()(x), plain(x))
    assert products == []


@pytest.mark.parametrize(("arch", "taken"), [("resnet18", 16), ("mobilenet_v2", 1), ("baseline", 3)])
def test_plain_3_x_3_convolutions_choose_and_names_and_weights_stay(arch: str, taken: int) -> None:
    torch.manual_seed(0)
    network = build(arch, 2)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    use_products(network)
    after = network.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], before[name]) for name in before)
    chosen = [module for module in network.modules() if isinstance(module, SmallMapConv2d)]
    assert len(chosen) == taken
    assert all(module.kernel_size == (3, 3) and module.groups == 1 and module.bias is None for module in chosen)


def test_a_networks_gradients_under_autocast_are_those_without_products(products: list[tuple[int, ...]]) -> None:
    torch.manual_seed(0)
    network = build("resnet18", 2)
    pixels = torch.randint(0, 256, (4, 64, 64, 3), dtype=torch.uint8)

    def gradients() -> list[torch.Tensor]:
        network.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            logits = network(pixels)
        nn.functional.cross_entropy(logits.float(), torch.tensor([0, 1, 0, 1])).backward()  # type: ignore[no-untyped-call]
        return [p.grad.flatten() for p in network.parameters() if p.grad is not None]

    plain = gradients()
    use_products(network)
    ours = gradients()
    assert products
    similar = [float(torch.cosine_similarity(a, b, 0)) for a, b in zip(ours, plain, strict=True)]
    assert min(similar) > 0.98
