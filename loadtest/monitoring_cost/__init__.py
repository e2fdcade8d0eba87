"""Cost of monitoring: the server with everything of it on, beside the server with everything off."""
