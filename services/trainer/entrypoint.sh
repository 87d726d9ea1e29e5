#!/bin/sh
# What the trainer writes into data/ must belong to the person on the host whose folder that is, and who that is
# is known only when the container runs. So it starts as root and becomes the folder's owner, for good.
# Group 10003 lets it read the key that models are signed with.
# (A folder that root owns is written by root, without any of root's powers: compose.yaml drops them.)
set -eu
# What changes is noted in a volume that the trainer itself can neither read nor write: it says it into a pipe, and another user
# appends it there (10010, services/setup/secret_files.py; it is there from the first `up` on).
if [ "$(stat -c %u /audit)" = 10010 ]; then
    mkfifo -m 600 /tmp/audit
    setpriv --reuid 10010 --regid 10010 --clear-groups --inh-caps=-all --bounding-set=-all --no-new-privs \
        tee -a /audit/audit.jsonl </tmp/audit >/dev/null &
    exec 3>/tmp/audit
    rm /tmp/audit
else
    exec 3>/dev/null
fi
owner=$(stat -c %u:%g "$DATA_DIR")
exec setpriv --reuid "${owner%:*}" --regid "${owner#*:}" --groups 10003 --inh-caps=-all --bounding-set=-all \
    --no-new-privs python -m trainer "$@"
