#!/bin/sh
# One refresh on a Ray cluster that runs already, by its dashboard's address; from cron or by hand.
# headatlas is installed on the head, and /mnt/atlas is the same folder on every node. The exit code
# is the command's own; a run that finds another one at work ends with 4.
exec ray job submit --address "${RAY_DASHBOARD:-http://head:8265}" -- \
    headatlas refresh "${1:-/mnt/atlas/night.yaml}"
