"""The page as a demo that computes in the browser: its folder, made for any static web server."""
