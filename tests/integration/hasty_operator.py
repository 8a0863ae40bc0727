"""The operator that waits a tenth as long before it takes a queue for one to which no message comes.

python hasty_operator.py [options of python -m celeriac]
"""

from celeriac.__main__ import main
from celeriac.autoscaling import spelling_watch

FASTER = 10.0

if __name__ == "__main__":
    for name in ("LOOK_SECONDS", "ASK_SECONDS", "UNUSED_SECONDS"):
        vars(spelling_watch)[name] /= FASTER
    main()
