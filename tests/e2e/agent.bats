#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
load common

setup() {
	need_root
}
teardown() {
	clean
}

token_url() { "$SKEP" url; }

@test "status tells every capability and what is missing" {
	agent_up
	"$SKEP" status --json >"$DIR/status"
	jq -e '.capabilities | map(.name) == ["guard", "trace", "balance"]' "$DIR/status"
	jq -e '.capabilities[0].reports[0].ready' "$DIR/status"
	jq -e '[.features[] | select(.ready | not) | .reason != "" and .fix != ""] | all' "$DIR/status"
}

@test "status's columns are as wide as their longest name" {
	agent_up
	"$SKEP" status >"$DIR/text"
	grep -q '^  version  skep ' "$DIR/text"
	# the longest name of a list has two blanks behind it
	[ "$(sed -n '/^What this kernel/,/^$/p' "$DIR/text" | grep -oE '^  (✓|✗) [^ ]+ +[^ ]' | grep -oE ' +[^ ]$' | awk '{ print length - 1 }' | sort -n | head -n 1)" = 2 ]
}

@test "without an agent, status still probes and a client verb says how to start one" {
	export SKEP_SOCKET=/tmp/skep-no-such.sock
	run "$SKEP" status
	[ "$status" = 0 ]
	run "$SKEP" ps
	[ "$status" = 3 ]
	[[ "$output" == *"skep up"* ]]
}

@test "without root, up says in one sentence what is missing" {
	run setpriv --reuid 65534 --regid 65534 --clear-groups "$SKEP" up --state-dir /tmp/skep-nobody --socket /tmp/skep-nobody.sock
	[ "$status" = 4 ]
	[ "${#lines[@]}" = 1 ]
	[[ "$output" == *root* ]]
	rm -rf /tmp/skep-nobody
}

@test "a malformed configuration is told with file, line, column and what was expected" {
	dir=$(mktemp -d)
	printf 'apiVersion: skep/v1\nkind: Agent\nmetadata: {name: x}\nspec:\n  guard: {ringKiB: lots}\n' >"$dir/bad.yaml"
	run "$SKEP" up --config "$dir/bad.yaml" --state-dir "$dir/s" --socket "$dir/sock"
	rm -rf "$dir"
	[ "$status" = 1 ]
	[[ "$output" == *"bad.yaml:5:"* ]]
	[[ "$output" == *ringKiB* ]]
}

@test "a second agent says who holds the lock" {
	agent_up
	run "$SKEP" up --state-dir "$DIR/state" --socket "$DIR/other.sock" --listen off
	[ "$status" = 1 ]
	[[ "$output" == *"$AGENT"* ]]
	[[ "$output" == *lock* ]]
}

@test "after SIGKILL the next start works and scans what lives" {
	agent_up
	kill -9 "$AGENT"
	wait "$AGENT" || true
	unset AGENT
	agent_up
	[ "$(q "select count(*) from process where pid = $$ and ended is null")" = 1 ]
}

@test "SIGTERM ends it within a second, without an error" {
	agent_up
	kill "$AGENT"
	timeout 2 tail --pid="$AGENT" -f /dev/null
	wait "$AGENT"
	unset AGENT
}

@test "with an unwritable state directory it warns, names it, and works" {
	DIR=$(mktemp -d /tmp/skep-test.XXXXXX)
	: >"$DIR/plain"
	export SKEP_SOCKET=$DIR/s
	"$SKEP" up --state-dir "$DIR/plain/state" --socket "$DIR/s" --listen off 2>"$DIR/log" 3>&- &
	AGENT=$!
	eventually 5 "$SKEP" query "select 1"
	grep -q "warning.*plain/state" "$DIR/log"
}

@test "the page needs the token, refuses other hosts and other origins" {
	export LISTEN=127.0.0.1:17071
	agent_up
	base=http://127.0.0.1:17071
	token=$(token_url | sed 's/.*token=//')
	[ "$(curl -s -o /dev/null -w '%{http_code}' $base/v1/status)" = 401 ]
	[ "$(curl -s -o /dev/null -w '%{http_code}' -H "Authorization: Bearer wrong" $base/v1/status)" = 401 ]
	[ "$(curl -s -o /dev/null -w '%{http_code}' -H "Authorization: Bearer $token" $base/v1/status)" = 200 ]
	[ "$(curl -s -o /dev/null -w '%{http_code}' -H "Authorization: Bearer $token" -H 'Host: evil.example:17071' $base/v1/status)" = 403 ]
	[ "$(curl -s -o /dev/null -w '%{http_code}' -H "Authorization: Bearer $token" -H 'Origin: http://evil.example' $base/v1/status)" = 403 ]
	[ "$(curl -s -o /dev/null -w '%{http_code}' $base/healthz)" = 200 ]
	curl -s -c "$DIR/jar" -L "$base/?token=$token" | grep -qi skep
	[ "$(curl -s -b "$DIR/jar" -o /dev/null -w '%{http_code}' $base/v1/status)" = 200 ]
}

@test "an oversized body is refused and a thousand idle connections do not hurt" {
	export LISTEN=127.0.0.1:17072
	agent_up
	head -c 2000000 /dev/zero | tr '\0' ' ' >"$DIR/big"
	[ "$(curl -s -o /dev/null -w '%{http_code}' --unix-socket "$SOCK" -d @"$DIR/big" http://localhost/v1/query)" = 413 ]
	bash -c 'for i in $(seq 1000); do exec {fd}<>/dev/tcp/127.0.0.1/17072 || exit 1; done; "$0" status --json | grep -q guard' "$SKEP"
}

@test "only SELECT is allowed, and a runaway query does not stop the agent" {
	agent_up
	run "$SKEP" query "delete from process"
	[ "$status" = 1 ]
	run "$SKEP" query "attach '/etc/passwd' as x"
	[ "$status" = 1 ]
	"$SKEP" query "with recursive n(i) as (select 1 union all select i + 1 from n) select sum(i) from n" >/dev/null 2>&1 3>&- &
	runaway=$!
	sleep 0.5
	timeout 2 "$SKEP" query "select 1"
	/bin/true e2e-meanwhile
	eventually 2 rows "select count(*) from process where argv like '%e2e-meanwhile'" 1
	kill $runaway
}

@test "metrics are in Prometheus' format" {
	agent_up
	curl -s --unix-socket "$SOCK" http://localhost/metrics >"$DIR/m"
	grep -q '^# TYPE skep_guard_events_total counter' "$DIR/m"
	refute grep -vE '^(# (HELP|TYPE) [a-z_]+ .*|[a-z_]+(\{[^}]*\})? [0-9.e+-]+)$' "$DIR/m"
}

@test "the agent keeps few capabilities and a seccomp filter" {
	[[ "$SKEP" == *release* ]] || skip "sanitizers need more"
	agent_up
	grep -q '^Seccomp:.*2' "/proc/$AGENT/status"
	grep -q '^NoNewPrivs:.*1' "/proc/$AGENT/status"
	[ "$(grep CapEff "/proc/$AGENT/status" | cut -f2)" != "$(grep CapEff /proc/self/status | cut -f2)" ]
}

@test "nothing is lost on a quiet host" {
	agent_up
	[ "$("$SKEP" status --json | jq .lost)" = 0 ]
}
