"""TorchServe's own handler of images, told what it must know: how many classes there are, and how large their input."""

import json
from pathlib import Path

from torchvision import transforms
from ts.torch_handler.image_classifier import ImageClassifier

# The released model's, so that all servers compute the same. It lies beside this file in the archive.
SIZE = json.loads(Path(__file__).with_name("release.json").read_bytes())["input"]["size"]


class CatsDogsStock(ImageClassifier):  # type: ignore[misc]
    topk = 2
    image_processing = transforms.Compose(
        [
            transforms.Resize((SIZE, SIZE)),
            transforms.ToTensor(),
            transforms.Normalize(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225]),
        ]
    )
