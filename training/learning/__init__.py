"""Training: the model, its task, the views of pictures, the loop, checkpoints."""
