#!/bin/sh
# What the trainer writes into data/ must belong to the person on the host whose folder that is, and who that is
# is known only when the container runs. So it starts as root and becomes the folder's owner, for good.
# Group 10003 lets it read the key that models are signed with.
# (A folder that root owns is written by root, without any of root's powers: compose.yaml drops them.)
set -eu
owner=$(stat -c %u:%g "$DATA_DIR")
exec setpriv --reuid "${owner%:*}" --regid "${owner#*:}" --groups 10003 --inh-caps=-all --bounding-set=-all \
    --no-new-privs python -m trainer "$@"
