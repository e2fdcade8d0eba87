import pytest

from handler.files import UserError
from serving.gateway.cors import check_origins, environment


@pytest.mark.parametrize(
    "origin",
    [
        *("https://example.org", "http://localhost:3000", "http://127.0.0.1:8000", "https://xn--bcher-kva.example"),
        *("http://[::1]:8080", "https://a.b-c.example:8443", "capacitor://localhost", "http://example.org:443", "*"),
    ],
)
def test_what_a_browser_sends_is_taken(origin: str) -> None:
    check_origins([origin])


@pytest.mark.parametrize(
    "origin",
    [
        *("", "null", "example.org", "//example.org", "https://", "https://example.org/", "https://example.org/app"),
        *("https://example.org?", "https://example.org#", "https://me@example.org", "HTTPS://example.org"),
        *("https://Example.org", "https://bücher.example", "https://example.org:443", "http://example.org:80"),
        *("http://example.org:", "http://example.org:0", "http://example.org:65536", "http://example.org:http"),
        *("https://*.example.org", "https://example.org https://example.com", "https://a,https://b", "**"),
        *("https://{env.HOME}", "https://{$HOME}", "https://a\nrespond 200", 'https://"a"', "http://[::1"),
    ],
)
def test_what_no_browser_sends_is_one_sentence_that_names_it(origin: str) -> None:
    with pytest.raises(UserError) as raised:
        check_origins(["https://example.org", origin])
    assert str(raised.value).startswith(f"{origin!r} is not an origin")
    assert "\n" not in str(raised.value)


def test_the_gateway_is_told_none_a_list_or_all() -> None:
    assert environment([]) == {"CORS": "none"}
    listed = ("https://example.org", "http://localhost:3000")
    assert environment(listed) == {"CORS": "list", "CORS_ORIGINS": "https://example.org http://localhost:3000"}
    assert environment(["https://example.org", "*"]) == {"CORS": "any"}
