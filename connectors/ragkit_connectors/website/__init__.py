"""Documents of a web site: `https://HOST/sitemap.xml`, a list of addresses, or one page.

Pages are asked for one after the other, only on the host that was named, and only where its
`robots.txt` allows it. What is private to this machine or its network is not asked for, however its
name is spelt and wherever a page leads, unless the user allows it.
"""

from __future__ import annotations

from ragkit_connectors.website.source import UrlListSource, WebSource, over_http, over_https

__all__ = ["UrlListSource", "WebSource", "over_http", "over_https"]
