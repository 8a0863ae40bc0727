"""The same settings, brought to Celery in every way that there is; SETTINGS_WAY names the one of this process.

The values are the JSON in LEDGER_APP_CONFIG. Each way is a function that makes the application.
"""

import os
import sys
import time
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

from celery import Celery, bootsteps, signals
from celery.app.amqp import AMQP
from kombu.connection import Connection
from kombu.transport import redis
from ledger_app import CONFIG, write  # type: ignore[import-not-found]  # beside this in the worker

OPTIONS = CONFIG["broker_transport_options"]
OLD_NAMES = {
    "broker_transport_options": "BROKER_TRANSPORT_OPTIONS",
    "broker_connection_retry_on_startup": "BROKER_CONNECTION_RETRY_ON_STARTUP",
    "task_acks_late": "CELERY_ACKS_LATE",
    "broker_url": "BROKER_URL",
}
WAYS: dict[str, Callable[[], Celery]] = {}


def way(make: Callable[[], Celery]) -> Callable[[], Celery]:
    """A way to configure; its name is the function's."""
    WAYS[make.__name__] = make
    return make


def named(prefix: str) -> dict[str, Any]:
    """The settings in upper case, as Django has them."""
    return {f"{prefix}{name.upper()}": value for name, value in CONFIG.items()}


def module(**values: Any) -> ModuleType:
    """A module of settings that can be imported by name."""
    made = ModuleType("settings_module")
    vars(made).update(values)
    sys.modules[made.__name__] = made
    return made


def plain() -> Celery:
    """An application that is yet to be configured."""
    return Celery("ways", set_as_current=True)


def without_options() -> Celery:
    """One that has everything but its transport options."""
    app = plain()
    app.conf.update({name: value for name, value in CONFIG.items() if name != "broker_transport_options"})
    return app


@way
def django() -> Celery:
    """What every Django project does."""
    module(SECRET_KEY="of a test", INSTALLED_APPS=[], USE_TZ=True, **named("CELERY_"))
    os.environ["DJANGO_SETTINGS_MODULE"] = "settings_module"
    app = plain()
    app.config_from_object("django.conf:settings", namespace="CELERY")
    return app


@way
def namespace_of_a_module() -> Celery:
    """Upper-case names behind a namespace."""
    module(**named("SHOP_"))
    app = plain()
    app.config_from_object("settings_module", namespace="SHOP")
    return app


@way
def namespace_in_lower_case() -> Celery:
    """Lower-case names behind a namespace."""
    app = plain()
    app.config_from_object({f"shop_{name}": value for name, value in CONFIG.items()}, namespace="shop")
    return app


@way
def namespace_and_plain_names() -> Celery:
    """Both at once."""
    app = plain()
    app.config_from_object({**named("SHOP_"), **CONFIG}, namespace="SHOP")
    return app


@way
def namespace_and_update() -> Celery:
    """A namespace, read early, and an update of the same setting."""
    app = plain()
    app.config_from_object(named("CELERY_"), namespace="CELERY")
    assert app.conf.broker_transport_options == OPTIONS
    app.conf.update(CELERY_BROKER_TRANSPORT_OPTIONS=OPTIONS)
    return app


@way
def old_names() -> Celery:
    """The names of Celery 3, which no setting may then mix with new ones."""
    app = plain()
    app.config_from_object({OLD_NAMES[name]: value for name, value in CONFIG.items()})
    return app


@way
def module_by_name() -> Celery:
    """`config_from_object` with the name of a module."""
    module(**CONFIG)
    app = plain()
    app.config_from_object("settings_module")
    return app


@way
def module_itself() -> Celery:
    """`config_from_object` with a module, forced at once."""
    app = plain()
    app.config_from_object(module(**CONFIG), force=True)
    return app


@way
def attribute_of_a_module() -> Celery:
    """`config_from_object` with the path of an object."""
    module(Settings=type("Settings", (), CONFIG))
    app = plain()
    app.config_from_object("settings_module:Settings")
    return app


@way
def class_itself() -> Celery:
    """`config_from_object` with a class."""
    app = plain()
    app.config_from_object(type("Settings", (), CONFIG))
    return app


@way
def instance() -> Celery:
    """`config_from_object` with an object."""
    app = plain()
    app.config_from_object(SimpleNamespace(**CONFIG))
    return app


@way
def dictionary() -> Celery:
    """`config_from_object` with a dictionary."""
    app = plain()
    app.config_from_object(dict(CONFIG))
    return app


@way
def environment_variable() -> Celery:
    """`config_from_envvar`."""
    module(**CONFIG)
    os.environ["SHOP_CONFIG"] = "settings_module"
    app = plain()
    app.config_from_envvar("SHOP_CONFIG")
    return app


@way
def default_loader() -> Celery:
    """The module that the default loader looks for."""
    module(**CONFIG)
    os.environ["CELERY_CONFIG_MODULE"] = "settings_module"
    return Celery("ways", loader="default")


@way
def config_source() -> Celery:
    """An argument of the application."""
    return Celery("ways", config_source=dict(CONFIG))


@way
def changes() -> Celery:
    """Another argument of the application."""
    return Celery("ways", changes=dict(CONFIG))


@way
def attribute() -> Celery:
    """An assignment."""
    app = without_options()
    app.conf.broker_transport_options = OPTIONS
    return app


@way
def update() -> Celery:
    """An update, before anything was read."""
    app = plain()
    app.conf.update(CONFIG)
    return app


@way
def update_after_reading() -> Celery:
    """An update after the application has used its connection pool."""
    app = without_options()
    assert app.pool
    app.conf.update(CONFIG)
    return app


@way
def changed_in_place() -> Celery:
    """The dictionary itself is changed."""
    app = without_options()
    app.conf.broker_transport_options = {}
    app.conf.broker_transport_options.update(OPTIONS)
    return app


@way
def defaults() -> Celery:
    """Defaults, which a function gives."""
    app = plain()
    app.add_defaults(lambda: CONFIG)
    return app


@way
def on_configure() -> Celery:
    """When the configuration is first read."""
    app = without_options()
    app.on_after_configure.connect(lambda source, **_: source.update(CONFIG), weak=False)
    return app


def set_by(signal: Any) -> Celery:
    """Options that a handler sets."""
    app = without_options()

    def handle(**_: Any) -> None:
        app.conf.broker_transport_options = OPTIONS

    signal.connect(handle, weak=False)
    return app


@way
def celeryd_init() -> Celery:
    """By the first signal of a worker."""
    return set_by(signals.celeryd_init)


@way
def worker_init() -> Celery:
    """By the signal at which the agent starts."""
    return set_by(signals.worker_init)


@way
def worker_init_after_the_agent() -> Celery:
    """By a handler of it that was connected after the agent's."""
    app = without_options()

    def late(**_: Any) -> None:
        app.conf.broker_transport_options = OPTIONS

    signals.celeryd_init.connect(lambda **_: signals.worker_init.connect(late, weak=False), weak=False)
    return app


@way
def celeryd_after_setup() -> Celery:
    """By the signal after the worker was set up."""
    return set_by(signals.celeryd_after_setup)


@way
def worker_bootstep() -> Celery:
    """By a step of the worker."""
    app = without_options()

    class Late(bootsteps.StartStopStep):  # type: ignore[misc]
        requires = ("celery.worker.components:Pool",)

        def start(self, _: Any) -> None:
            app.conf.broker_transport_options = OPTIONS

    app.steps["worker"].add(Late)
    return app


@way
def consumer_bootstep() -> Celery:
    """By a step of the consumer, while it is put together."""
    app = without_options()

    class Late(bootsteps.StartStopStep):  # type: ignore[misc]
        def __init__(self, _: Any, **__: Any) -> None:
            app.conf.broker_transport_options = OPTIONS

    app.steps["consumer"].add(Late)
    return app


@way
def changed_while_it_runs() -> Celery:
    """Options that are others once the worker is ready."""
    app = plain()
    app.conf.update(CONFIG)

    def change(**_: Any) -> None:
        app.conf.broker_transport_options = {"global_keyprefix": "mall:", "visibility_timeout": 9}

    signals.worker_ready.connect(change, weak=False)
    return app


class Configured(Connection):
    """A connection that brings its options itself."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs["transport_options"] = {**(kwargs.get("transport_options") or {}), **OPTIONS}
        super().__init__(*args, **kwargs)  # type: ignore[no-untyped-call]


@way
def connection_class() -> Celery:
    """A class of connections."""
    app = without_options()
    app.amqp_cls = type("Amqp", (AMQP,), {"Connection": Configured})
    return app


class Overriding(Celery):  # type: ignore[misc]
    """An application that makes its connections itself."""

    def _connection(self, url: str, **kwargs: Any) -> Any:
        return super()._connection(url, **{**kwargs, "transport_options": OPTIONS})


class Reading(Celery):  # type: ignore[misc]
    """An application that makes only those for consuming itself."""

    def connection_for_read(self, url: str | None = None, **kwargs: Any) -> Any:
        url = url or self.conf.broker_read_url
        return Connection(url, transport_options=OPTIONS)  # type: ignore[no-untyped-call]


@way
def application_class() -> Celery:
    """A class of applications."""
    app = Overriding("ways")
    app.conf.broker_connection_retry_on_startup = True
    return app


@way
def application_class_for_reading() -> Celery:
    """Another class of applications."""
    app = Reading("ways")
    app.conf.update(CONFIG)
    return app


class Channel(redis.Channel):
    """A channel whose options are attributes."""

    global_keyprefix = OPTIONS["global_keyprefix"]
    visibility_timeout = OPTIONS["visibility_timeout"]


class Transport(redis.Transport):
    """Redis with such channels."""

    Channel = Channel


@way
def transport_class() -> Celery:
    """A class of transports."""
    app = without_options()
    app.conf.broker_transport = "settings_ways:Transport"
    return app


app = WAYS[os.environ["SETTINGS_WAY"]]()


@app.task(bind=True, name="ledger_app.work")  # type: ignore[untyped-decorator]  # celery has no types
def work(self: Any, seconds: float = 0.0) -> None:
    """Wait."""
    write("started", self.request, self.name)
    time.sleep(seconds)
    write("ended", self.request, self.name)
