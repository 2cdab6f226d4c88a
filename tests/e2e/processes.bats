#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
load common

setup_file() {
	need_root
	sleep 3600 3>&- &
	export OLD=$!
	agent_up
}
teardown_file() {
	kill "$OLD" 2>/dev/null || true
	clean
}

@test "an exec is reported with argv, parent, user and exit code" {
	run sh -c 'exit 41' e2e-one 'two words'
	eventually 5 rows "select count(*) from process where argv = 'sh -c ''exit 41'' e2e-one ''two words''' and exit_code = 41 and uid = 0 " 1
}

@test "the binary is the file that runs, not the name it was called by" {
	ln -s /bin/true "$DIR/alias"
	"$DIR/alias" e2e-link
	eventually 5 rows "select exe from process where argv like '%e2e-link'" "$(readlink -f /bin/true)"
}

@test "a binary that was deleted is marked so" {
	cp /bin/sleep "$DIR/gone"
	"$DIR/gone" 60 3>&- &
	rm "$DIR/gone"
	# the exec came before the removal; a second exec through the open file comes after it
	cp /bin/sleep "$DIR/gone2"
	exec 9<"$DIR/gone2"
	rm "$DIR/gone2"
	/proc/self/fd/9 0.1 || true
	exec 9<&-
	eventually 5 rows "select count(*) from process where exe = '$DIR/gone2 (deleted)'" 1
}

@test "the working directory is told" {
	mkdir -p "$DIR/some where/deep"
	pushd "$DIR/some where/deep"
	/bin/true e2e-cwd
	popd
	eventually 5 rows "select cwd from process where argv like '%e2e-cwd'" "$DIR/some where/deep"
}

@test "death by a signal is told with its number" {
	sh -c 'kill -9 $$' e2e-killed || true
	eventually 5 rows "select signal from process where argv like '%e2e-killed' and exit_code is null" 9
}

@test "a fork without exec is a row that inherits the program" {
	bash -c '(sleep 0; exit 7); true' e2e-fork
	eventually 5 rows "select count(*) >= 1 from process where origin = 'fork' and exit_code = 7 and argv like '%e2e-fork'" 1
}

@test "a process older than the agent is there, marked scan" {
	run q "select origin, argv from process where pid = $OLD and ended is null"
	[ "$output" = "scan,sleep 3600" ]
}

@test "every process of /proc is there, also process 1, which some iterators leave out" {
	eventually 5 rows "select origin, ppid from process where pid = 1 and ended is null" scan,0
	# its start is the one that its children name
	[ "$(q "select count(*) from process c left join process p on p.pid = c.ppid and p.started = c.parent_started where c.pid = $OLD or c.ppid = 1 and c.ended is null and p.pid is null")" = 1 ]
	for p in /proc/[0-9]*; do
		[ -z "$(tr -d '\0' <"$p/cmdline" 2>/dev/null)" ] || [ "$(ps -o etimes= -p "${p#/proc/}" 2>/dev/null || echo 0)" -lt 5 ] || echo "${p#/proc/}"
	done | sort >"$DIR/want"
	q "select distinct pid from process" | sort >"$DIR/got"
	[ "$(wc -l <"$DIR/want")" -gt 1 ]
	[ -z "$(comm -23 "$DIR/want" "$DIR/got")" ]
}

@test "kernel threads are one service" {
	[ "$(q "select distinct service from process where pid = 2 or ppid = 2 and exe is null")" = kernel ]
}

@test "events of a container are found by a prefix of its id" {
	root=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)
	[ -n "$root" ] || skip "no cgroup2"
	id=5ke9e2e0123456789abcdef0123456789abcdef0123456789abcdef012345678
	id=${id//k/c}
	export CGROUPS="$root/docker-$id.scope"
	mkdir -p "$CGROUPS"
	sh -c 'echo $$ >"$0/cgroup.procs"; exec sleep 0.3' "$CGROUPS"
	eventually 5 rows "select container from process where container like '5ce9e2e%' and comm = 'sleep'" "$id"
	curl -s --unix-socket "$SOCK" "http://localhost/v1/events?kind=process.exec&container=5ce9e2e" >"$DIR/events"
	jq -e --arg id "$id" '.events | length > 0 and all(.container == $id)' "$DIR/events"
	curl -s --unix-socket "$SOCK" "http://localhost/v1/events?kind=process.exec&container=ce9e2e" | jq -e '.events == []'
	rmdir "$CGROUPS"
}

@test "names with newlines, escapes and bytes that are no UTF-8 are escaped everywhere" {
	name=$(printf '%s/evil\n\033[31m\xff' "$DIR")
	cp /bin/true "$name"
	"$name" e2e-evil
	eventually 5 rows "select count(*) from process where argv like '%e2e-evil'" 1
	"$SKEP" query --json "select exe, comm, argv from process where argv like '%e2e-evil'" >"$DIR/evil.json"
	jq -e . "$DIR/evil.json" >/dev/null
	[ "$(LC_ALL=C grep -c "$(printf '[\033\377]')" "$DIR/evil.json")" = 0 ]
	jq -r .exe "$DIR/evil.json" | grep -F 'evil\n\x1b[31m\xff'
	"$SKEP" ps --all >"$DIR/ps"
	LC_ALL=C refute grep -q "$(printf '\377')" "$DIR/ps"
}

@test "an argv of 2 MiB is cut, marked, and its length told" {
	big=$(head -c 100000 /dev/zero | tr '\0' a)
	args=()
	for _ in $(seq 18); do args+=("$big"); done
	/bin/true e2e-big "${args[@]}"
	eventually 5 rows "select argv_cut, argv_bytes from process where argv like '/bin/true e2e-big%'" "1,1800036"
}

@test "a process in a cgroup of its own is called by that cgroup's name" {
	root=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)
	[ -n "$root" ] || skip "no cgroup2"
	export CGROUPS="$root/skep-e2e-shop"
	mkdir -p "$root/skep-e2e-shop"
	sh -c 'echo $$ >"$0/cgroup.procs"; exec sleep 0.3' "$root/skep-e2e-shop"
	eventually 5 rows "select cgroup, service from process where cgroup = '/skep-e2e-shop' and origin = 'exec' and comm = 'sleep'" "/skep-e2e-shop,skep-e2e-shop"
	rmdir "$root/skep-e2e-shop"
}

@test "ps shows a tree with this shell's children below it" {
	sleep 5 3>&- &
	PIDS="${PIDS:-} $!"
	child=$!
	eventually 5 sh -c "'$SKEP' ps --tree | grep -w $child"
	kill "$child"
}

@test "events -f streams an exec within a second" {
	timeout 3 "$SKEP" events -f --json --kind process.exec >"$DIR/stream" 3>&- &
	sleep 0.7
	/bin/true e2e-stream
	eventually 2 grep -q e2e-stream "$DIR/stream"
}

# The machine's other processes are counted too: between two counters an event may come.
exact() {
	curl -s --unix-socket "$SOCK" http://localhost/metrics >"$DIR/metrics"
	awk '/^skep_guard_(sent|events|lost)_total/ { split($1, k, "{"); s[k[1]] += $2 }
		END { print s["skep_guard_sent_total"], s["skep_guard_events_total"], s["skep_guard_lost_total"]
		exit !(s["skep_guard_lost_total"] > 0 && s["skep_guard_sent_total"] == s["skep_guard_events_total"] + s["skep_guard_lost_total"]) }' "$DIR/metrics"
}

@test "with a ring of one page, sent is reported plus lost, exactly, and the loss is shown" {
	agent_down
	agent_up '  guard: {ringKiB: 4}'
	spawn=$BATS_TEST_DIRNAME/../../build/release/bench/spawn
	kill -STOP "$AGENT"
	"$spawn" 200 2 e2e-tiny >/dev/null
	kill -CONT "$AGENT"
	"$spawn" 800 2 e2e-tiny >/dev/null
	eventually 5 exact
	[ "$("$SKEP" status --json | jq .lost)" -gt 0 ]
	# and nothing lives on that is dead
	eventually 4 rows "select count(*) from process where argv like '%e2e-tiny%' and comm in ('sh', 'spawn') and ended is null" 0
	[ "$(q "select count(*) > 100 from process where argv like '%e2e-tiny%' and comm in ('sh', 'spawn')")" = 1 ]
}
