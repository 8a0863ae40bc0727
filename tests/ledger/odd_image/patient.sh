#!/bin/sh
# Many images have one like this, too: it waits for the database and migrates it before it becomes what it was given.
echo "the shop is being prepared"
sleep 11
exec "$@"
