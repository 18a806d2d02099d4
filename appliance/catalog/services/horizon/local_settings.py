# Written by Rackwright: changes made by hand are undone.
DEBUG = False
ALLOWED_HOSTS = ["${node.address}", "${rack.control}", "${node.name}"]
# Signs sessions and forms.
SECRET_KEY = "${secret.horizon}"
OPENSTACK_KEYSTONE_URL = "http://${rack.control}:5000/v3"
TIME_ZONE = "UTC"

# To the journal: who did what, and what went wrong.
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(levelname)s %(name)s %(message)s"}},
    "handlers": {"journal": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["journal"], "level": "WARNING"},
    "loggers": {
        "django": {"handlers": ["journal"], "level": "WARNING", "propagate": False},
        "horizon.operation_log": {"level": "INFO"},
        "openstack_auth": {"level": "INFO"},
    },
}
