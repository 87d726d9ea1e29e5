# What a backup and a restore share: where the repository is, and what restic says in one line.
# shellcheck shell=bash
# shellcheck disable=SC2034 # what it sets is for those who source it

# In the container: each volume under its own name.
VOLUMES=/volumes
SCRATCH=/scratch
SOCKET=/var/run/postgresql
ROLE=mlflow # whose the databases are
# Each has a dump of its name: what MLflow knows, and where it asks for a login, its accounts, which change rarely.
DATABASES=(mlflow mlflow_auth)
TAG=mlflow-stack
# Of one that lacks files of a model in use: not what `latest` restores, and no whole one goes for it.
INCOMPLETE=mlflow-stack-incomplete
# For services/doctor: in a folder of backups which snapshots those are; when all was read last, and when one came back last.
LIST_OF_INCOMPLETE=incomplete-snapshots LAST_CHECK=last-check LAST_RESTORE=last-restore
LOG=/tmp/restic.log
PATIENCE=30
OPTIONS=(--stuck-request-timeout "${PATIENCE}s") # of restic in all its commands
LIMIT=()                                         # what restic runs under where it may only take so long
# How restic ends where the password is not the repository's, and where there is no repository (its manual, "Exit status codes").
NO_REPOSITORY=10
LOCKED=11
WRONG_PASSWORD=12
TOO_LATE=124 # how LIMIT ends
# What an S3 says of a bucket that is still to be made, which restic tries again and again all the same.
NO_BUCKET='bucket does not exist'
# And of a key that it does not have, or whose secret part is another.
WRONG_KEY='access key id you provided does not exist\|signature we calculated does not match'

dump_of() { printf '%s/%s.sql' "$SCRATCH" "$1"; }
has_database() {
    [ "$(psql --host="$SOCKET" --username=postgres --no-psqlrc -Atc "SELECT 1 FROM pg_database WHERE datname = '$1'" 2>/dev/null)" = 1 ]
}
say() { printf '%s\n' "$*"; }
die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }

# whole WORDS COMMAND …: run it in a process group, which a signal ends as a whole. A shell that has a program run in the
# foreground would look at the signal when that is done, and restic takes its lock away where it is told to end.
whole() {
    local words=$1
    shift
    trap 'interrupted 130 "$words"' INT
    trap 'interrupted 143 "$words"' TERM
    set -m
    "$@" &
    set +m
    wait $!
}

interrupted() {
    local group=${!:-}
    trap '' INT TERM
    disown # or bash says that it was ended
    kill -- "-$group" 2>/dev/null || true
    while kill -0 -- "-$group" 2>/dev/null; do sleep 0.1; done
    printf '%s: %s\n' "${0##*/}" "$2" >&2
    exit "$1"
}

# Note what was done in the audit log, as services/audit has it: note WHAT OF FROM TO BY. Where nobody reads the pipe, that is an
# error and no wait.
note() {
    { [ ! -p "$AUDIT_FILE" ] || echo; jq --compact-output --null-input --arg time "$(date --utc '+%FT%T+00:00')" --arg who "${AUDIT_WHO:-unknown}" --args '
        $ARGS.positional | map(if . == "-" then null else . end)
        | {time: $time, who: $who, what: .[0], of: .[1], from: .[2], to: .[3], by: .[4], why: ""}' -- "$@"; } | dd bs=4096 iflag=fullblock oflag=append,nonblock conv=nocreat,notrunc of="$AUDIT_FILE" status=none ||
        say "The audit log cannot be written, so it lacks: $*" >&2
}

# The folder is mounted; elsewhere is only reached by a container that has a network.
open_repository() {
    export RESTIC_CACHE_DIR=/tmp/restic RESTIC_PROGRESS_FPS=2
    case ${BACKUP_REPOSITORY:-} in
        s3:* | sftp:*)
            export RESTIC_REPOSITORY=$BACKUP_REPOSITORY
            log_in ;;
        *:*) die "BACKUP_REPOSITORY=$BACKUP_REPOSITORY is neither a folder nor s3:https://HOST/BUCKET nor sftp:USER@HOST:/FOLDER" ;;
        *) export RESTIC_REPOSITORY=/repository ;;
    esac
}

# An S3's credentials are read by restic itself; ssh wants its key to be its user's alone.
log_in() {
    export AWS_SHARED_CREDENTIALS_FILE=/given/BACKUP_CREDENTIALS
    [[ $BACKUP_REPOSITORY == sftp:* ]] || return 0
    install -m 0600 /given/BACKUP_CREDENTIALS /tmp/ssh-key
    local host=${BACKUP_REPOSITORY#sftp:} patience="-o ConnectTimeout=$PATIENCE -o ServerAliveInterval=10 -o ServerAliveCountMax=$((PATIENCE / 10))"
    case $host in # //USER@HOST:PORT//FOLDER is restic's way to name a port, and ssh://USER@HOST:PORT ssh's
        //*) host=${host#//} host=ssh://${host%%/*} ;;
        *) host=${host%%:*} ;;
    esac
    OPTIONS+=(-o "sftp.command=ssh -i /tmp/ssh-key -o BatchMode=yes -o UserKnownHostsFile=/given/BACKUP_KNOWN_HOSTS $patience $host -s sftp")
}

# Say in one line what restic could not do: its last words, which name the cause, without the ones that point elsewhere.
reason() {
    local code=$1 log=$2 last
    ! grep -q -i 'no space left' "$log" || { echo "$(place) is full: no space left on device"; return; }
    ! grep -q -i "$WRONG_KEY" "$log" || { echo "$(place) does not know the key in BACKUP_CREDENTIALS_FILE, or its secret part is another"; return; }
    ! grep -q "$NO_BUCKET" "$log" || code=$NO_REPOSITORY
    case $code in
        "$NO_REPOSITORY") echo "there is no backup in $(place)" ;;
        "$LOCKED") echo "$(place) is locked by another backup, or by one that was killed within the last half hour; try again later" ;;
        "$TOO_LATE") echo "$(place) did not answer within ${LIMIT[-1]} s; --patience SECONDS waits longer" ;;
        "$WRONG_PASSWORD") echo "the password does not open $(place); give the one of its first backup: BACKUP_PASSWORD_FILE=./FILE" ;;
        *)  last=$(grep -o 'subprocess ssh: .*' "$log" | grep -v 'Could not create directory' | tail -n 1 | grep . || # which knows the cause
                grep -v -e '^$' -e '^repository .* opened' -e 'github.com' -e '^goroutine' "$log" | grep -i -m1 -e 'fatal' -e 'error' -e 'refused' -e 'timeout' || tail -n 1 "$log")
            [[ $last != "{"* ]] || last=$(jq --raw-output '.message // .error.message' <<<"$last") # where it was asked for JSON
            last=${last#Fatal: } last=${last#subprocess ssh: }
            case $last in
                *'Host key verification failed'*) last="${last%.}; BACKUP_KNOWN_HOSTS_FILE has to have its key, as ssh-keyscan prints it" ;;
                *'Permission denied'*) last="${last%.}; the key in BACKUP_CREDENTIALS_FILE has to log in there" ;;
            esac
            echo "$(place): ${last##*returned error, retrying after *s: }" ;;
    esac
}

place() {
    case $RESTIC_REPOSITORY in /repository) echo "${BACKUP_REPOSITORY:-./backups}" ;; *) echo "$RESTIC_REPOSITORY" ;; esac
}

# Run restic; where it fails, end with one line. What it prints goes to stdout, what it complains of to a file.
restic_or_die() {
    local code=0
    restic_within_patience "$@" || code=$?
    [ "$code" = 0 ] || die "$(reason "$code" "$LOG")"
}

# Run restic, which tries for a quarter of an hour what a full disk or a host that is gone will not let it do: here that is over
# at once on a full disk, without a bucket or with a wrong key, and otherwise when it has tried for PATIENCE seconds. Returns its exit code.
restic_within_patience() {
    local pid began=""
    "${LIMIT[@]}" restic "${OPTIONS[@]}" "$@" 2>"$LOG" &
    pid=$!
    while kill -0 "$pid" 2>/dev/null; do
        sleep 0.2
        ! grep -q -i -e 'no space left' -e "$NO_BUCKET" -e "$WRONG_KEY" "$LOG" || kill "$pid" 2>/dev/null || true
        case $(grep -e 'returned error, retrying' -e 'operation successful after' "$LOG" | tail -n 1) in
            *retrying*) began=${began:-$SECONDS} ;;
            *) began="" ;;
        esac
        [ -z "$began" ] || [ $((SECONDS - began)) -lt "$PATIENCE" ] || kill "$pid" 2>/dev/null || true
    done
    wait "$pid"
}
