"""Swift's cache inside of its one proxy process: it stands in for memcached, and is right only while there is a single proxy."""

import time

MOST = 20_000


class MemoryCache:
    def __init__(self):
        self._entries = {}

    def get(self, key, raise_on_error=False):
        value, end = self._entries.get(key, (None, 0))
        if end and end < time.time():
            del self._entries[key]
            return None
        return value

    # `time` is the entry's lifetime in seconds, as memcached's clients call it.
    def set(self, key, value, serialize=True, time=0, min_compress_len=0, raise_on_error=False):
        if len(self._entries) >= MOST:
            self._entries.clear()
        self._entries[key] = (value, now() + time if time else 0)

    def incr(self, key, delta=1, time=0):
        value = max(0, int(self.get(key) or 0) + int(delta))
        self.set(key, value, time=time)
        return value

    def decr(self, key, delta=1, time=0):
        return self.incr(key, -delta, time)

    def delete(self, key, server_key=None):
        self._entries.pop(key, None)

    def set_multi(self, mapping, server_key=None, serialize=True, time=0, min_compress_len=0):
        for key, value in mapping.items():
            self.set(key, value, time=time)

    def get_multi(self, keys, server_key=None):
        return [self.get(key) for key in keys]


def now():
    return time.time()


def filter_factory(global_conf, **local_conf):
    cache = MemoryCache()

    def factory(app):
        def call(environment, start_response):
            environment["swift.cache"] = cache
            return app(environment, start_response)

        return call

    return factory
