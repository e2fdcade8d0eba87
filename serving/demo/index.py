"""The demo's index.html: the page's own, with a content security policy and the demo's script."""

import re

# A static host sends no header, so the page has its policy itself. WebAssembly is compiled in the worker, which is
# started from a blob and so has the same policy.
POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self' blob:; style-src 'self'; "
    "img-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none'"
)
META = f"""\
<meta charset="utf-8">
  <meta http-equiv="Content-Security-Policy" content="{POLICY}">
  <meta name="referrer" content="no-referrer">"""
HEAD = """\
  <link rel="stylesheet" href="demo.css">
  <script src="demo.js" type="module"></script>
</head>"""
PROGRESS = '<p id="download" role="status"></p>\n\n    '
NOSCRIPT = "<noscript><p>This page needs JavaScript: it computes the prediction in your browser.</p></noscript>"


def index_page(page: str) -> str:
    """Return the demo's index.html, from that of the gateway."""
    made = replaced(r'<meta charset="utf-8">', page, META)
    made = replaced(r"</head>", made, HEAD)
    made = replaced(r'(?=<div id="stage">)', made, PROGRESS)
    made = replaced(r'<li><a href="docs">.*?</li>', made, "")
    return replaced(r"<noscript>.*?</noscript>", made, NOSCRIPT)


def replaced(pattern: str, text: str, new: str) -> str:
    """Return a text with the one match of a pattern replaced."""
    made, count = re.subn(pattern, lambda match: new, text, flags=re.DOTALL)
    assert count == 1, f"the page has {count} matches of {pattern}"
    return made
