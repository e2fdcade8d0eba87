"""Stock TorchServe: its own handler, eager torch. These files go into its archive, and import nothing of ours.

Their names are those of no package of the checkout, which TorchServe's workers would import in their place.
"""
