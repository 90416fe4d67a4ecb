# What every transcript begins with. AWS's commands stay as AWS's pages print them: only `aws` below knows where
# they go. With AWS_LOADED the command line is already loaded (test/support/loaded-aws.py) and answers sooner.
set -euo pipefail
cd "$WORK"

aws() {
  if [[ -z ${AWS_LOADED:-} ]]; then
    command aws --endpoint-url "$AWS_ENDPOINT_URL" "$@"
    return
  fi
  local call code
  call=$(mktemp -d "$WORK/call.XXXXXX")
  mkfifo "$call/code"
  printf '%s\0' --endpoint-url "$AWS_ENDPOINT_URL" "$@" >"$call/args"
  printf '%s\n' "$call" >"$AWS_LOADED"
  read -r code <"$call/code"
  cat "$call/out"
  cat "$call/err" >&2
  return "$code"
}

fail() {
  echo "transcript: $*" >&2
  exit 1
}

# same WHAT GOT WANTED
same() {
  [[ $2 == "$3" ]] || fail "$1: got '$2', wanted '$3'"
}

# wait_for WANTED COMMAND…: asks again, as every client of this API does, until the command prints WANTED.
wait_for() {
  local wanted=$1 got=
  shift
  for _ in {1..150}; do
    got=$("$@")
    [[ $got == "$wanted" ]] && return
    sleep 0.4
  done
  fail "waited in vain for '$wanted' of: $*; the last answer was '$got'"
}

# refused ERROR COMMAND…: the command has to fail with this error.
refused() {
  local error=$1 said
  shift
  if said=$("$@" 2>&1); then fail "was not refused: $*"; fi
  [[ $said == *"($error)"* ]] || fail "$*: wanted $error, got $said"
}

state_of() {
  aws cloudhsmv2 describe-clusters --filters "clusterIds=$1" --query 'Clusters[].State' --output text
}

hsms_of() {
  aws cloudhsmv2 describe-clusters --filters "clusterIds=$1" --query 'Clusters[].Hsms[].State' --output text
}
