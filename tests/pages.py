"""A page taken apart, and what every page must keep."""

import json
import re
from html.parser import HTMLParser

import pytest


class Page(HTMLParser):
    """The elements of a page, its links, its policy and its data."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.links, self.policy, self.data, self._in_data = [], [], "", None, False
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.tags.append(tag)
        self._in_data = attributes.get("type") == "application/json"
        if tag == "a":
            self.links.append(attributes["href"])
        if attributes.get("http-equiv") == "Content-Security-Policy":
            self.policy = attributes["content"]

    def handle_data(self, data):
        if self._in_data:
            self.data = json.loads(data, parse_constant=pytest.fail)

    def handle_endtag(self, tag):
        self._in_data = False


def needs_nothing_else(text):
    """Check that a page refers to nothing outside, and admits only a style and a script of its own."""
    page = Page(text)
    assert not re.search(r"""(?:src|href)\s*=\s*["']?\s*(?:https?:)?//""", text)
    assert not re.search(r"url\(\s*[\"']?(?!#)|@import|\bfetch\(|XMLHttpRequest|innerHTML|insertAdjacentHTML", text)
    assert page.links
    assert all(link.startswith("#") for link in page.links)
    assert page.tags.count("script") == 2
    own = r"'sha256-\S{44}'"
    policy = f"default-src 'none'; style-src {own}; script-src {own}; base-uri 'none'; form-action 'none'"
    assert re.fullmatch(policy, page.policy)
    return True
