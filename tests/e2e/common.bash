# SPDX-License-Identifier: Apache-2.0
# common.bash: an agent of the test's own, in a directory of its own; namespaces and cgroups are removed
# whatever happens.
SKEP=${SKEP:-$BATS_TEST_DIRNAME/../../build/release/skep}

need_root() {
	[ "$(id -u)" = 0 ] || skip "needs root"
}

# agent_up [SPEC-YAML] [OPTION...]: start and wait until it answers.
agent_up() {
	local spec=${1:-}
	shift || true
	DIR=${DIR:-$(mktemp -d /tmp/skep-test.XXXXXX)}
	chmod 755 "$DIR"
	SOCK=$DIR/skep.sock
	export DIR SOCK SKEP_SOCKET=$SOCK
	[[ "$SKEP" != *asan* ]] || spec+=$'\n  sandbox: false' # the leak check at its end needs more
	printf 'apiVersion: skep/v1\nkind: Agent\nmetadata: {name: test}\nspec:\n  listen: "%s"\n%s\n' "${LISTEN:-off}" "$spec" >"$DIR/skep.yaml"
	"$SKEP" up --config "$DIR/skep.yaml" --state-dir "$DIR/state" --socket "$SOCK" "$@" 2>>"$DIR/agent.log" 3>&- &
	AGENT=$!
	export AGENT
	echo "$AGENT" >"$DIR/pid" # a test that starts another one cannot tell teardown_file by a variable
	for _ in $(seq 300); do
		"$SKEP" status --json 2>/dev/null | jq -e .agent.pid >/dev/null 2>&1 && return 0
		kill -0 "$AGENT" 2>/dev/null || break
		sleep 0.05
	done
	cat "$DIR/agent.log" >&2
	return 1
}

agent_down() {
	[ ! -f "${DIR:-}/pid" ] || AGENT=$(cat "$DIR/pid")
	[ -n "${AGENT:-}" ] || return 0
	kill "$AGENT" 2>/dev/null || true
	for _ in $(seq 100); do kill -0 "$AGENT" 2>/dev/null || break; sleep 0.05; done
	kill -9 "$AGENT" 2>/dev/null || true
	rm -f "${DIR:-}/pid"
	unset AGENT
}

clean() {
	agent_down
	for p in ${PIDS:-}; do kill -9 "$p" 2>/dev/null || true; done
	for n in ${NETNS:-}; do
		for p in $(ip netns pids "$n" 2>/dev/null); do kill -9 "$p" 2>/dev/null || true; done
		ip netns del "$n" 2>/dev/null || true
	done
	for c in ${CGROUPS:-}; do rmdir "$c" 2>/dev/null || true; done
	[ -z "${DIR:-}" ] || rm -rf "$DIR"
}

# q SQL: rows as CSV without the heading.
q() {
	"$SKEP" query --csv "$1" | tail -n +2 | tr -d '\r'
}

# eventually SECONDS COMMAND...: until it succeeds.
eventually() {
	local until=$((SECONDS + $1))
	shift
	while [ $SECONDS -le $until ]; do
		"$@" && return 0
		sleep 0.2
	done
	echo "never true: $*" >&2
	return 1
}

rows() { # rows SQL COUNT
	[ "$(q "$1")" = "$2" ]
}

refute() { # refute COMMAND...: it fails; a bare "!" fails no test
	if "$@"; then
		echo "true: $*" >&2
		return 1
	fi
}

netns() { # netns NAME: one of the test's own, with loopback up
	ip netns add "$1"
	NETNS="${NETNS:-} $1"
	ip -n "$1" link set lo up
}
