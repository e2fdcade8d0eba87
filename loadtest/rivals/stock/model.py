"""ResNet18 for two classes, as TorchServe's eager mode wants it: one class in one file."""

from torchvision.models.resnet import BasicBlock, ResNet


class ResNet18(ResNet):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__(BasicBlock, [2, 2, 2, 2], num_classes=2)
