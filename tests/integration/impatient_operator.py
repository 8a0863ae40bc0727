"""The operator for which time passes a hundred times as fast, as far as patience with what is in a pool's way goes.

python impatient_operator.py [options of python -m celeriac]
"""

from celeriac.__main__ import main
from celeriac.reporting import deadlines

FASTER = 100.0

if __name__ == "__main__":
    patience = deadlines.patience
    deadlines.patience = lambda reason: patience(reason) / FASTER
    main()
