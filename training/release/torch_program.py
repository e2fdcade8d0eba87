"""A release as a torch program: what the GPU runtime loads, without torchvision or this project's code."""

import io
import json
from pathlib import Path

import safetensors.torch
import torch

from handler.files import UserError
from handler.release import read_release, verify_file
from training.learning.model import build


def make(network: Path, release: Path) -> bytes:
    """Make the model file of torch, which takes the release's weights and has no use for the ONNX network."""
    return to_program(release)


def to_program(release: Path) -> bytes:
    """A `.pt2` file: uint8 (n, size, size, 3) -> float32 logits (n, classes), dynamic n.

    Raises:
        UserError: the release's weights are not the ones it names, or not those of its network.
    """
    facts = read_release(release)
    verify_file(release, "model.safetensors", facts.weights_sha256)
    arch = json.loads((release / "release.json").read_bytes())["config"]["model"]["arch"]
    model = build(arch, len(facts.classes)).to(memory_format=torch.contiguous_format).eval()
    # Kernels are stored as fp16 and computed as fp32.
    state = safetensors.torch.load_file(release / "model.safetensors")
    try:
        model.backbone.load_state_dict({key: tensor.to(state_dtype(tensor)) for key, tensor in state.items()})
    except RuntimeError as error:
        raise UserError(f"{release} does not hold the weights of {arch}.") from error
    example = torch.zeros((2, facts.input.size, facts.input.size, 3), dtype=torch.uint8)
    batch = torch.export.Dim("n", min=1, max=1024)
    program = torch.export.export(model, (example,), dynamic_shapes=({0: batch},))
    program.example_inputs = None  # they would be pickled into it
    for node in program.graph.nodes:
        for trace in ("stack_trace", "nn_module_stack", "source_fn_stack", "torch_fn", "from_node"):
            node.meta.pop(trace, None)  # paths of this machine among them
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    return buffer.getvalue()


def state_dtype(tensor: torch.Tensor) -> torch.dtype:
    return torch.float32 if tensor.is_floating_point() else tensor.dtype
