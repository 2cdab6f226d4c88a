#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Starts on bad days: a host that is full of processes, a disk that is full.
load common

setup() {
	need_root
}
teardown() {
	[ -z "${CROWD:-}" ] || kill -9 -- "-$CROWD" 2>/dev/null || true
	clean
}

# crowd N: so many sleeping processes, or a skip where the machine has no room for them.
crowd() {
	local free=$(($(cat /proc/sys/kernel/pid_max) - $(find /proc -maxdepth 1 -name '[0-9]*' | wc -l)))
	[ "$free" -gt $(($1 + 2000)) ] || skip "only $free free process ids"
	[ "$(awk '/^MemAvailable/ { print $2 }' /proc/meminfo)" -gt $(($1 * 200)) ] || skip "too little memory for $1 processes"
	DIR=$(mktemp -d /tmp/skep-test.XXXXXX)
	"$BATS_TEST_DIRNAME/../../build/release/bench/crowd" "$1" >"$DIR/crowd" 2>"$DIR/crowd.log" 3>&- &
	CROWD=$!
	for _ in $(seq 300); do
		[ ! -s "$DIR/crowd" ] || return 0
		kill -0 $CROWD 2>/dev/null || skip "$(cat "$DIR/crowd.log")"
		sleep 0.1
	done
	return 1
}

@test "with 10,000 processes alive at start the agent is up within 3 seconds and knows them all" {
	crowd 10000
	begun=$(date +%s%N)
	agent_up
	took=$((($(date +%s%N) - begun) / 1000000))
	echo "# up after $took ms" >&3
	[ "$(q "select count(*), count(distinct pid), count(distinct argv), min(origin), max(origin) from process where ppid = $CROWD and ended is null")" = 10000,10000,1,scan,scan ]
	[ $took -lt 3000 ]
	[ "$("$SKEP" status --json | jq .lost)" = 0 ]
	# all of them end at once, and each end is told
	kill -9 -- "-$CROWD"
	wait "$CROWD" || true
	eventually 10 rows "select count(*) from process where ppid = $CROWD and ended is not null" 10000
}

# full_disk ROOM: an agent whose state directory has ROOM bytes left.
full_disk() {
	DIR=$(mktemp -d /tmp/skep-test.XXXXXX)
	mkdir "$DIR/state"
	export SKEP_SOCKET=$DIR/s
	# in a mount namespace of its own: nothing to clean up
	unshare -m sh -c 'mount -t tmpfs -o size=64k skep-full "$1/state" && ! head -c 1000000 /dev/zero >"$1/state/fill" 2>/dev/null &&
		truncate -s "-$3" "$1/state/fill" && exec "$2" up --state-dir "$1/state" --socket "$1/s" --listen off' sh "$DIR" "$SKEP" "$1" 2>"$DIR/log" 3>&- &
	AGENT=$!
	eventually 5 "$SKEP" query "select 1"
	cat "$DIR/log"
	grep -q "warning: .*$DIR/state" "$DIR/log"
	grep -qi "warning: .*\(no space\|full\)" "$DIR/log"
	/bin/true "e2e-full-$1"
	eventually 5 rows "select count(*) from process where argv = '/bin/true e2e-full-$1'" 1
	kill "$AGENT"
	wait "$AGENT"
	rm -rf "$DIR"
}

@test "on a full disk the agent warns, names the place and runs on" {
	full_disk 0
}

@test "on a disk with room for the lock but not for the state it does the same" {
	full_disk 4096
}

@test "a gateway without its link address is refused, and nothing is attached" {
	DIR=$(mktemp -d /tmp/skep-test.XXXXXX)
	netns skep-start
	printf 'apiVersion: skep/v1\nkind: Agent\nspec: {listen: "off", balance: {interfaces: [lo], nextHop: gateway, pinDir: ""}}\n' >"$DIR/skep.yaml"
	run timeout 10 ip netns exec skep-start "$SKEP" up --config "$DIR/skep.yaml" --state-dir "$DIR/state" --socket "$DIR/s"
	[[ "$output" == *"set balance.gateway"* ]]
	[ "$status" -ne 0 ]
}
