"""How often, and how long, in seconds."""

REPORT_SECONDS = 1.0
TICK_SECONDS = 0.2  # the worker's loop does its part so often
SOCKET_SECONDS = 1.0  # a silent Redis holds up the worker's loop for so long,
BACK_OFF_SECONDS = 5.0  # and is then left alone for so long
