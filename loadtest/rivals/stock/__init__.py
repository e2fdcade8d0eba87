"""Stock TorchServe: its own handler, eager torch. These files go into its archive, and import nothing of ours."""
