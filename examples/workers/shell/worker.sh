#!/usr/bin/env bash
# The tool `disk_free`, served by plain NATS and JSON: bash, df and NATS' text protocol, no client library.
set -euo pipefail
export LC_ALL=C # lengths are bytes
TOOL='{"name": "disk_free", "description": "Says how many kilobytes are free on the disk that holds a folder of this worker.",
  "parameters": {"type": "object", "properties": {"path": {"type": "string", "pattern": "^/[A-Za-z0-9/_.-]*$"}}, "required": ["path"]},
  "effect": "pure", "timeout_ms": 5000}'
address=${NATS_URL#*://}
exec 3<>"/dev/tcp/${address%:*}/${address##*:}"

send() { printf '%s\r\n' "$@" >&3; }
register() { send "PUB tool.registry.register _INBOX_worker.registered ${#TOOL}" "$TOOL"; }
answer() { send "PUB $1 ${#2}" "$2"; }                                                             # inbox, body
refuse() { local head=$'NATS/1.0\r\nNats-Service-Error-Code: '"$2"$'\r\nNats-Service-Error: '"$3"$'\r\n\r\n' # inbox, code, text
  send "HPUB $1 ${#head} ${#head}" "$head"; }

disk_free() { # inbox, body
  local path; path=$(sed 's/.*"path":"\([^"]*\)".*/\1/' <<<"$2") # the schema allows no quote in it
  local free; free=$(df -Pk -- "$path" 2>/dev/null | awk 'NR == 2 { print $4 }') || true
  if [[ $free ]]; then answer "$1" "{\"result\": {\"free_kb\": $free}}"; else refuse "$1" 404 "there is no folder $path"; fi
}

send "CONNECT {\"verbose\": false, \"headers\": true, \"no_responders\": true, \"user\": \"${NATS_USER-}\", \"pass\": \"${NATS_PASSWORD-}\"}" \
  'SUB tools.disk_free workers 1' 'SUB _INBOX_worker.registered 2'
register
while IFS= read -r line <&3; do
  read -ra words <<<"${line%$'\r'}" # MSG subject sid [inbox] length; HMSG subject sid [inbox] head-length length
  case ${words[0]} in
  PING) send PONG ;;
  -ERR) echo "NATS: $line" >&2 && exit 1 ;;
  MSG | HMSG)
    total=${words[*]: -1} head=0
    [[ ${words[0]} == HMSG ]] && head=${words[*]: -2:1}
    IFS= read -r -d '' -n $((total + 2)) message <&3
    if [[ ${words[2]} == 1 ]]; then disk_free "${words[3]}" "${message:head:total-head}"
    elif [[ $message == 'NATS/1.0 503'* ]]; then sleep 1 && register # the platform is not there yet
    elif ((head)); then echo "$message" >&2 && exit 1
    else echo 'serving tools.disk_free'; fi ;;
  esac
done
