"""Everything around the archive: TorchServe's settings, the launcher, probes, the gateway, the page."""
