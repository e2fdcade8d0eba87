"""Pictures before training: sources, scan, duplicates, labels, split, manifest, loaders."""
