"""The registry of released models: which version is the champion, how it became that, and the way back."""
