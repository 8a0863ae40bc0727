"""How often, and how long, in seconds."""

REPORT_SECONDS = 1.0
TICK_SECONDS = 0.2  # the worker's loop does its part so often
SOCKET_SECONDS = 1.0  # how long a silent Redis may hold up the worker's loop,
BACK_OFF_SECONDS = 5.0  # and how rarely
