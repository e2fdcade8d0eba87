"""What training hands over: ONNX, parity, the release folder, the archive."""
