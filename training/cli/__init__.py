"""The verbs of training, one module each; heavy imports happen in the verb."""
