"""Everything before the archive: data, model, training, evaluation, export, package."""
