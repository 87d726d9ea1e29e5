#!/bin/bash
# MinIO takes one address of its console, for the links that it makes. Of those in MINIO_PUBLIC_URL it is the first, as in
# services/contract/publishing/addresses.py: "*." stands for the service, and of names with commas between the first counts.
set -eu
list=${MINIO_PUBLIC_URL:-}
list=${list// ,/,}
read -r address _ <<<"${list//, /,}" || true
if [[ $address =~ ^([a-z]+://)(\*\.)?([^,]+)(,.*[^0-9])?(:[0-9]+)?$ ]]; then
    address=${BASH_REMATCH[1]}${BASH_REMATCH[2]:+minio.}${BASH_REMATCH[3]}${BASH_REMATCH[5]:-}
    export MINIO_BROWSER_REDIRECT_URL=${address%:443}
fi
exec "$@"
