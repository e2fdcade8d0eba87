"""The int8 network of a release: quantised with training pictures, judged on the test split."""
