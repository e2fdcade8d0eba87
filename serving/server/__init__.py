"""TorchServe's half of the server: settings, launcher, Java, workers."""
