"""A cache that is only ever healthy."""

import os

from fakes.tiny_service import serve

serve("cache", os.environ["PENSTOCK_CACHE_BIND"])
