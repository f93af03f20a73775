"""Split URLs that people, browsers and other programs pass."""

from urllib.parse import SplitResult, urlsplit


def split_url(url: str) -> SplitResult:
    """Return the parts of a URL; of what is none, such as `https://[::`, all are empty."""
    try:
        parts = urlsplit(url)
        _ = parts.port  # not checked before
    except ValueError:
        return SplitResult("", "", "", "", "")
    return parts


def is_web_url(url: str) -> bool:
    """Whether it is an http or https URL with a host."""
    parts = split_url(url)
    return parts.scheme in {"http", "https"} and bool(parts.hostname)
