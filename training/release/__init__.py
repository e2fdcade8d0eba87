"""The result of training: ONNX, parity, the release folder, the archive."""
