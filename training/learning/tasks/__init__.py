"""Tasks of training: a whole network on pictures, or its last layer on the frozen rest's outputs."""
