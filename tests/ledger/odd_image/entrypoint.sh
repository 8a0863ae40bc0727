#!/bin/sh
# Many images have one like this: it starts Python as a child, and no signal reaches it.
echo "the shop opens"
/opt/shop/venv/bin/python "$@"
echo "the shop closes"
