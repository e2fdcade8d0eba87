"""The demo's index.html: the page's own, with a content security policy, sample pictures and the demo's script."""

import html
import re
from collections.abc import Mapping

# A static host sends no header, so the page has its policy itself. WebAssembly is compiled in the worker, which is
# started from a blob and so has the same policy.
POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self' blob:; style-src 'self'; "
    "img-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none'"
)
HEAD = """\
  <link rel="stylesheet" href="demo.css">
  <script src="demo.js" type="module"></script>
</head>"""
NOSCRIPT = "<noscript><p>This page needs JavaScript: it computes the prediction in your browser.</p></noscript>"


def index_page(page: str, samples: Mapping[str, str]) -> str:
    """Return the demo's index.html.

    Args:
        page: that of the gateway.
        samples: class by the address of each sample picture.
    """
    made = replaced(r'<meta charset="utf-8">', page, _meta())
    made = replaced(r"</head>", made, HEAD)
    made = replaced(r'(?=<section id="result")', made, _samples(samples))
    made = re.sub(r' *<p class="api">.*?</p>\n', "", made)
    return replaced(r"<noscript>.*?</noscript>", made, NOSCRIPT)


def replaced(pattern: str, text: str, new: str) -> str:
    """Return a text with the one match of a pattern replaced."""
    made, count = re.subn(pattern, lambda match: new, text, flags=re.DOTALL)
    assert count == 1, f"the page has {count} matches of {pattern}"
    return made


def _meta() -> str:
    return (
        '<meta charset="utf-8">\n'
        f'  <meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '  <meta name="referrer" content="no-referrer">'
    )


def _samples(samples: Mapping[str, str]) -> str:
    buttons = "".join(
        f'\n      <button type="button"><img src="{html.escape(address)}" alt="Sample: {html.escape(label)}"></button>'
        for address, label in samples.items()
    )
    row = f'<p id="samples">{buttons}\n    </p>\n    ' if samples else ""
    return f'{row}<p id="download" role="status"></p>\n\n    '
