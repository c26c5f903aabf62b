"""Sessions in Redis: `RedisSessions(url, ttl_s=60, timeout_s=0.5)`, an async context manager, is a `SessionStore`."""
