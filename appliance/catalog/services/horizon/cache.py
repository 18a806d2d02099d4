# Written by Rackwright: changes made by hand are undone.
# In a file of its own, read after the package's: that one gives each process a cache, and with it sessions, of its own.
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.memcached.PyMemcacheCache",
        "LOCATION": "${rack.control}:11211",
        "KEY_PREFIX": "horizon",
    }
}
