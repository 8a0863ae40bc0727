"""Which line of an ended container's log says why, and what of it is never told."""

import pytest

from celeriac.cluster.last_words import last_words

pytestmark = pytest.mark.unit

USAGE = "Usage: python -m celery [OPTIONS] COMMAND [ARGS]...\nTry 'python -m celery --help' for help.\n\n"
FRAMES = (
    'Traceback (most recent call last):\n  File "<frozen runpy>", line 198, in _run_module_as_main\n'
    '  File "/app/proj/__init__.py", line 1, in <module>\n    import myproject\n'
)
BANNER = (
    " \n -------------- celery@ml-7d9c5 v5.7.0 (recovery)\n--- ***** ----- \n [config]\n .> app:  proj:0x7f\n"
    " -------------- [queues]\n                .> celery exchange=celery(direct) key=celery\n\n"
)
TASK = (
    "[2026-11-27 14:05:41,000: ERROR/MainProcess] Task proj.pay[6e8e2e5c-1] raised unexpected: ValueError('hunter2')\n"
    'Traceback (most recent call last):\n  File "/x/celery/app/trace.py", line 453, in trace_task\n'
    '    R = retval = fun(*args, **kwargs)\n  File "/app/proj.py", line 9, in pay\n    raise ValueError(card)\n'
    "ValueError: hunter2\n"
)
UNRECOVERABLE = (
    "[2026-11-27 14:05:41,000: CRITICAL/MainProcess] Unrecoverable error: OperationalError('Error 111')\n"
    'Traceback (most recent call last):\n  File "/x/celery/worker/worker.py", line 202, in start\n'
    "    self.blueprint.start(self)\nkombu.exceptions.OperationalError: Error 111 connecting to redis:6379."
)
DEEP = "ere was more\n" + '  File "/x/django/db/backends/base.py", line 1, in connect\n    return f()\n' * 30

TOLD: dict[str, tuple[str, str]] = {
    "the app's module is missing": (
        USAGE + "Error: Invalid value for '-A' / '--app': \nUnable to load celery application.\n"
        "The module myproject was not found.",
        "ModuleNotFoundError: No module named 'myproject'",
    ),
    "the app imports what is missing": (
        USAGE
        + "Error: Invalid value for '-A' / '--app': \nUnable to load celery application.\nWhile trying to load the"
        f" module proj the following error occurred:\n{FRAMES}ModuleNotFoundError: No module named 'myproject'",
        "ModuleNotFoundError: No module named 'myproject'",
    ),
    "the module has no app": (
        USAGE + "Error: Invalid value for '-A' / '--app': \nUnable to load celery application.\n"
        "Module 'proj' has no attribute 'celery'",
        "Unable to load celery application. Module 'proj' has no attribute 'celery'",
    ),
    "an option that Celery does not know": (USAGE + "Error: No such option: --frob", "Error: No such option: --frob"),
    "a value that Celery does not take": (
        USAGE + "Error: Invalid value for '-l' / '--loglevel': FOO is not one of 'DEBUG', 'INFO'.",
        "Error: Invalid value for '-l' / '--loglevel': FOO is not one of 'DEBUG', 'INFO'.",
    ),
    "code that is no Python": (
        'Traceback (most recent call last):\n  File "/app/proj.py", line 1\n    def f(:\n          ^\n'
        "SyntaxError: invalid syntax",
        "SyntaxError: invalid syntax",
    ),
    "an exception behind another": (
        f"{FRAMES}KeyError: 'a'\n\nDuring handling of the above exception, another exception occurred:\n\n{FRAMES}"
        "django.core.exceptions.ImproperlyConfigured: The SECRET_KEY setting must not be empty.",
        "django.core.exceptions.ImproperlyConfigured: The SECRET_KEY setting must not be empty.",
    ),
    "an exception without words": (f"{FRAMES}MemoryError", "MemoryError"),
    "a variable that is missing": (f"{FRAMES}KeyError: 'DATABASE_URL'", "KeyError: 'DATABASE_URL'"),
    "settings that are missing, by pydantic": (
        f"{FRAMES}pydantic_core._pydantic_core.ValidationError: 2 validation errors for Settings\nbroker_url\n  Field"
        " required [type=missing, input_value={'a': 'hunter2'}, input_type=dict]\n    For further information visit x",
        "pydantic_core._pydantic_core.ValidationError: 2 validation errors for Settings: broker_url: Field required",
    ),
    "what Celery cannot recover from": (
        BANNER + UNRECOVERABLE,
        "kombu.exceptions.OperationalError: Error 111 connecting to redis:6379.",
    ),
    "the beginning was cut away, of an import": (
        DEEP + '  File "/app/proj.py", line 3, in <module>\n    connect()\nOSError: cannot reach db',
        "OSError: cannot reach db",
    ),
    "the beginning was cut away, of anything": (DEEP + "ValueError: hunter2", "ValueError"),
    "the app ends with a sentence": ("this application needs DATABASE_URL\n", "this application needs DATABASE_URL"),
    "a library crashes": (
        BANNER + "Fatal Python error: Segmentation fault\n\nCurrent thread 0x7f (most recent call first):\n"
        '  File "/usr/lib/python3.11/ctypes/__init__.py", line 519 in string_at\n',
        "Fatal Python error: Segmentation fault",
    ),
    "a shared library is missing": (
        "python: error while loading shared libraries: libpq.so.5: cannot open shared object file: No such file",
        "python: error while loading shared libraries: libpq.so.5: cannot open shared object file: No such file",
    ),
    "musl": (
        "Error loading shared library libstdc++.so.6: No such file or directory (needed by /app/x.so)",
        "Error loading shared library libstdc++.so.6: No such file or directory (needed by /app/x.so)",
    ),
    "glibc is older": (
        "python: /lib/libc.so.6: version `GLIBC_2.34' not found (required by python)",
        "python: /lib/libc.so.6: version `GLIBC_2.34' not found (required by python)",
    ),
    "a shell finds no program": ("start\n/app/start.sh: line 3: celery: command not found", ""),
    "dash finds no program": ("/app/start.sh: 3: celery: not found", ""),
    "sh -c finds no program": ("sh: 1: python: not found", ""),
    "a variable of a script is missing": ("/app/start.sh: 4: DATABASE_URL: parameter not set", ""),
    "a script of Windows": ("/usr/bin/env: 'python3\\r': No such file or directory", ""),
    "a program of another CPU": ("/app/start.sh: line 2: /app/bin: cannot execute binary file: Exec format error", ""),
    "the kernel's own words": ("exec /usr/local/bin/python: exec format error", ""),
    "tini": ("[FATAL tini (7)] exec celery failed: No such file or directory", ""),
    "dumb-init": ("[dumb-init] celery: No such file or directory", ""),
    "su-exec": ("su-exec: app: No such file or directory", ""),
    "poetry": ("Command not found: celery", ""),
    "uv": ("error: Failed to spawn: `celery`", ""),
    "python without the file": (
        "python: can't open file '/app/manage.py': [Errno 2] No such file or directory",
        "",
    ),
    "python -m without the module": ("/usr/bin/python3: No module named celery", ""),
    "a C++ library": (BANNER + "terminate called after throwing an instance of 'std::bad_alloc'", ""),
    "root and pickle": (
        FRAMES + "celery.exceptions.SecurityError: Running a worker with superuser privileges when the\nworker accepts"
        " messages serialized with pickle is a very bad idea!\n\nIf you really want to continue",
        "celery.exceptions.SecurityError: Running a worker with superuser privileges when the",
    ),
    "a broker that is tried once": (
        BANNER + "[2026-11-27 21:57:46,661: CRITICAL/MainProcess] Retrying to establish a connection to the message"
        " broker after a connection loss has been disabled (app.conf.broker_connection_retry=False). Shutting down...",
        "Retrying to establish a connection to the message broker after a connection loss has been disabled"
        " (app.conf.broker_connection_retry=False). Shutting down...",
    ),
    "colours": ("\x1b[31mError: No such option: --frob\x1b[0m", "Error: No such option: --frob"),
}
"""What the log ends with, and what is told; empty: its last line."""


@pytest.mark.parametrize("what", TOLD)
def test_the_line_that_says_why_is_found(what: str) -> None:
    log, line = TOLD[what]
    assert last_words(log, 1) == (line or log.splitlines()[-1])


@pytest.mark.parametrize(
    "log",
    [
        "",
        BANNER + TASK,
        BANNER + TASK + "[2026-11-27 14:05:42,000: INFO/MainProcess] Task proj.pay[6e8e2e5c-2] received\n",
        BANNER + "paying with card hunter2",
        BANNER + UNRECOVERABLE + "\n[2026-11-27 14:05:42,000: INFO/MainProcess] Task proj.pay[6e8e2e5c-2] received",
        "x" * 3000 + "\npaying with card hunter2",
        "\n".join(f"paying with card {number}" for number in range(80)),
        BANNER + "Error: card hunter2 was refused",
        BANNER + "/data/hunter2.csv: No such file or directory",
    ],
    ids=[
        *("nothing", "a task's exception", "after it", "a task's print", "goes on", "a log that was cut", "many lines"),
        *("a task's error", "a task's file"),
    ],
)
def test_a_line_that_may_be_a_tasks_is_never_told(log: str) -> None:
    assert last_words(log, 1) is None


@pytest.mark.parametrize("code", [137, 143])
def test_the_last_words_of_who_was_killed_are_not_the_reason(code: int) -> None:
    assert last_words(f"{FRAMES}ValueError: of an earlier task", code) is None


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("Error: cannot connect to redis://:hunter2@redis:6379/0", "redis://***@redis:6379/0"),
        ("Error: cannot connect to redis://user:hun/te?r#2@@redis:6379/0", "redis://***@redis:6379/0"),
        ("Error: netloc 'user:hunter2@redis' contains invalid characters", "netloc ***@redis'"),
        ("Error: bad url amqps://a:hunter2@h/v;sentinel://b:hunter2@h", "amqps://***@h"),
        ("ValueError: Port could not be cast to integer value as 'hunter2'", "integer value as ***"),
        ("ValueError: invalid literal for int() with base 10: 'hunter2'", "base 10: ***"),
        ("Error: redis://redis/0?password=hunter2&db=3", "?password=***&db=3"),
        ("Error: https://bucket.example/x?X-Amz-Security-Token=hunter2&a=b", "Security-Token=***&a=b"),
        ("Error: connect(host='db', password='hunter2', port=5432)", "password=***, port=5432"),
        ('Error: {"DB_PASSWORD": "hunter2", "a": 1}', '{"DB_PASSWORD": ***, "a": 1}'),
        ("Error: API_KEY=hunter2 is not valid", "API_KEY=*** is not valid"),
        ("Error: refused: Authorization: Bearer hunter2hunter2", "Authorization: Bearer ***"),
    ],
)
def test_what_looks_like_a_credential_is_hidden(said: str, told: str) -> None:
    found = last_words(said if said.startswith("Error") else f"{FRAMES}{said}", 1)
    assert found is not None
    assert told in found
    assert "hunter2" not in found
    assert "te?r" not in found


def test_a_setting_that_is_called_a_secret_may_be_named() -> None:
    for words in ("KeyError: 'SECRET_KEY'", "ImproperlyConfigured: The SECRET_KEY setting must not be empty."):
        assert last_words(f"{FRAMES}{words}", 1) == words


def test_a_line_is_cut_and_steers_no_terminal() -> None:
    found = last_words("Error: \x1b]0;title\x07 \u202e " + "x" * 1000, 1)
    assert found is not None
    assert found.isprintable()
    assert len(found) == 240
