#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# skep exec as an ordinary user: whatever runs below it sees the engine's objects only.
bats_require_minimum_version 1.5.0
load common

setup_file() {
	export DIR=$(mktemp -d /tmp/skep-exec.XXXXXX)
	chmod 777 "$DIR"
	# an ordinary user may not be able to read the tree that was built
	cp "$(readlink -f "$SKEP")" "$DIR/skep"
	cp "$BATS_TEST_DIRNAME"/../../build/e2e/exec/* "$DIR/"
	chmod 755 "$DIR"/*
}
teardown_file() {
	rm -rf "$DIR"
}

# nobody COMMAND...: as an ordinary user, for at most 60 seconds
nobody() {
	if [ "$(id -u)" = 0 ]; then
		timeout -k 1 60 setpriv --reuid=65534 --regid=65534 --clear-groups -- "$@"
	else
		timeout -k 1 60 "$@"
	fi
}
exec_() { nobody "$DIR/skep" exec "$@"; }

@test "the exit status is the command's" {
	run exec_ -- sh -c 'exit 7'
	[ "$status" = 7 ]
	run exec_ -- true
	[ "$status" = 0 ]
}

@test "a command that a signal ended gives 128 and the signal" {
	run exec_ -- sh -c 'kill -TERM $$'
	[ "$status" = 143 ]
}

@test "a command that is not there gives 127, one that cannot run 126" {
	run -127 exec_ -- /no/such/command
	[[ "$output" == *"/no/such/command: No such file or directory"* ]]
	run exec_ -- /etc/passwd
	[ "$status" = 126 ]
	[[ "$output" == *"Permission denied"* ]]
}

@test "no command is a wrong command line" {
	run exec_
	[ "$status" = 2 ]
}

@test "compiled and interpreted at once is a wrong command line" {
	run exec_ --unsafe --interp -- true
	[ "$status" = 2 ]
	[[ "$output" == *"--unsafe or --interp, not both"* ]]
}

@test "options behind the command are the command's" {
	run exec_ -- sh -c 'echo "$@"' sh --root --help -x
	[ "$output" = "--root --help -x" ]
}

@test "standard input and output are the command's" {
	[ "$(printf 'one\ntwo\n' | exec_ -- wc -l)" = 2 ]
}

@test "bpftool sees an empty BPF subsystem, whatever the kernel holds" {
	run exec_ -- bpftool map show
	[ "$status" = 0 ]
	[ -z "$output" ]
	run exec_ -- bpftool prog show
	[ "$status" = 0 ]
	[ -z "$output" ]
}

@test "bpftool makes, fills, dumps and removes a map" {
	run exec_ --root -- sh -ec '
		bpftool map create /sys/fs/bpf/m type hash key 4 value 8 entries 9 name mine
		bpftool map update pinned /sys/fs/bpf/m key 1 0 0 0 value 2 0 0 0 0 0 0 0
		bpftool map lookup pinned /sys/fs/bpf/m key 1 0 0 0
		bpftool -j map dump pinned /sys/fs/bpf/m
		bpftool -j map show
		ls /sys/fs/bpf
		rm /sys/fs/bpf/m
		bpftool -j map show'
	echo "$output"
	[ "$status" = 0 ]
	[[ "${lines[0]}" == *"02 00 00 00 00 00 00 00"* ]]
	[[ "${lines[1]}" == *'"value":["0x02"'* ]]
	[[ "${lines[2]}" == *'"name":"mine"'* ]]
	[ "${lines[3]}" = m ]
	[ "${lines[4]}" = "[]" ]
}

@test "without --root a pin is a name that only bpf(2) finds" {
	run exec_ -- sh -ec '
		bpftool map create /sys/fs/bpf/m type array key 4 value 4 entries 2 name mine
		bpftool map lookup pinned /sys/fs/bpf/m key 1 0 0 0
		test ! -e /sys/fs/bpf/m'
	echo "$output"
	[ "$status" = 0 ]
	[[ "$output" == *"00 00 00 00"* ]]
}

@test "two commands do not see each other's objects" {
	exec_ --root -- sh -c 'bpftool map create /sys/fs/bpf/m type array key 4 value 4 entries 2 name mine
		touch '"$DIR"'/made; sleep 3' 3>&- &
	eventually 3 test -e "$DIR/made"
	run exec_ -- bpftool map show
	[ -z "$output" ]
	wait
}

@test "raw system calls of many threads of a static binary are answered once each, under signals" {
	run exec_ -- "$DIR/raw" 8 500
	echo "$output"
	[ "$output" = ok ]
}

@test "a Go program's goroutines are served while its runtime interrupts them" {
	command -v go >/dev/null || skip "needs go"
	HOME=$DIR GO111MODULE=off timeout 100 go build -o "$DIR/threads" "$BATS_TEST_DIRNAME/exec/threads.go"
	run exec_ -- "$DIR/threads"
	echo "$output"
	[ "$output" = ok ]
}

@test "libbpf's ring buffer consumer gets every record and then sleeps" {
	run exec_ -- "$DIR/ring" 20000
	echo "$output"
	[ "${lines[0]}" = "20000 records" ]
	[ "${lines[1]}" = quiet ]
}

@test "libbpf's perf buffer consumer gets every record, or hears how many are lost" {
	run exec_ -- "$DIR/perf" 20000 8
	echo "$output"
	[[ "$output" == *"all of 20000"* ]]
	run exec_ -- "$DIR/perf" 20000 1
	echo "$output"
	[[ "$output" == *"all of 20000"* ]]
	[[ "$output" != *"not all of"* ]]
}

@test "epoll on what is not the engine's works as ever" {
	run exec_ -- python3 -c '
import os, select
r, w = os.pipe()
e = select.epoll()
e.register(r, select.EPOLLIN)
os.write(w, b"x")
print(e.poll(1)[0][1])
try: e.register(os.open("/etc/passwd", 0), select.EPOLLIN)
except PermissionError: print("EPERM")'
	[ "${lines[0]}" = 1 ]
	[ "${lines[1]}" = EPERM ]
}

@test "children, their children and what they execute are served, from one engine" {
	run exec_ --root -- sh -ec '
		(bpftool map create /sys/fs/bpf/a type array key 4 value 4 entries 2 name from_child)
		sh -c "setsid sh -c \"bpftool -j map show\""'
	echo "$output"
	[[ "$output" == *from_child* ]]
}

@test "extensions stand for functions of other programs, as the kernel has it" {
	for f in extend extension; do
		clang -target bpf -O2 -g "-I/usr/include/$(uname -m)-linux-gnu" -c "$BATS_TEST_DIRNAME/run/$f.bpf.c" -o "$DIR/$f.o"
	done
	chmod 644 "$DIR"/*.o
	cat >"$DIR/wanted" <<-END
		alone: 327 (0)
		instead for first: 0
		other for second: 0
		instead for hidden: -22
		instead for second: -22
		instead for nowhere: -2
		first replaced: 128325 (0)
		link type 2 attach 0 target 1 btf 7
		again: -22
		both replaced: 128335 (0)
		ran 1
		counted 4
		counted 1
		update -22 detach -95
		second alone: 337 (0)
		instead for first: 0
		third attached: 1
		both again: 128335 (0)
		for what is no function: -22
		all for target: 0
		all of it: 77 (0)
		alone again: 327 (0)
	END
	for how in --interp --unsafe; do
		run exec_ $how -- "$DIR/extend" "$DIR/extend.o" "$DIR/extension.o"
		diff - "$DIR/wanted" <<<"$output"
	done
	# not every kernel lets root load extensions
	run "$DIR/extend" "$DIR/extend.o" "$DIR/extension.o"
	[ "$status" != 0 ] || diff - "$DIR/wanted" <<<"$output"
}

@test "a second answerer in the same tree is refused with a reason" {
	run exec_ -- "$DIR/skep" exec -- true
	[ "$status" = 125 ]
	[[ "$output" == *"cannot be nested"* ]]
}

@test "--root is root in a namespace, with pins of its own" {
	run exec_ --root -- sh -c 'id -u; stat -f -c %T /sys/fs/bpf; stat -f -c %T /'
	[ "${lines[0]}" = 0 ]
	[ "${lines[1]}" = bpf_fs ]
	[ "${lines[2]}" != bpf_fs ]
}

@test "a killed skep takes its command along, and survivors get ENOSYS" {
	exec_ -- sh -c 'sh -c "trap \"\" TERM; while ! test -e '"$DIR"'/dead; do sleep 0.05; done
			bpftool map show 2>'"$DIR"'/survivor" & echo $$ >'"$DIR"'/command; wait' 3>&- &
	eventually 3 test -s "$DIR/command"
	command=$(cat "$DIR/command")
	kill -9 $(ps -o ppid= -p "$command")
	eventually 2 sh -c "! kill -0 $command 2>/dev/null"
	touch "$DIR/dead"
	eventually 3 grep -q "Function no[t] implemented" "$DIR/survivor"
	wait || true
}

@test "a signal to skep reaches the command" {
	exec_ -- sh -c 'trap "exit 5" USR1; echo $$ >'"$DIR"'/waits; while :; do sleep 0.05; done' 3>&- &
	eventually 3 test -s "$DIR/waits"
	kill -USR1 $(ps -o ppid= -p "$(cat "$DIR/waits")")
	status=0
	wait $! || status=$?
	[ "$status" = 5 ]
}

@test "a long run does not keep others waiting" {
	run exec_ -- sh -c "$DIR/long 2 & sleep 0.3; $DIR/long 2 & sleep 0.3; timeout 1 bpftool map show && echo served; wait"
	echo "$output"
	[[ "$output" == *served* ]]
	[ "$(grep -c '^ran$' <<<"$output")" = 2 ]
}

@test "orphans are served and buried" {
	run exec_ -- sh -c '(sh -c "sleep 0.3; bpftool -j map show >'"$DIR"'/orphan" &); sleep 1
		ps -o stat= --ppid "$(ps -o ppid= -p $$)"'
	echo "$output"
	[ "$(cat "$DIR/orphan")" = "[]" ]
	[[ "$output" != *Z* ]]
}

@test "an interactive shell has job control" {
	t="tmux -L skep-exec-$$"
	$t new-session -d -x 80 -y 20 "$DIR/skep exec -- bash --norc -i; echo STATUS \$?; sleep 5" 3>&-
	$t send-keys 'sleep 100' Enter
	sleep 0.7
	$t send-keys C-z
	sleep 0.5
	$t send-keys 'jobs; kill %1; exit 9' Enter
	$t send-keys 'exit 9' Enter
	eventually 4 sh -c "$t capture-pane -p | grep -q 'STATUS 9'"
	$t capture-pane -p | grep -q 'Stopped.*sleep 100'
	$t kill-server
}

@test "the example in docs/engine.md builds against libskep.a alone, and runs" {
	root=$BATS_TEST_DIRNAME/../..
	awk '/^```c$/ { on = 1; next } /^```$/ { on = 0 } on' "$root/docs/engine.md" >"$DIR/example.c"
	gcc -Wall -Werror -I"$root/include" -o "$DIR/example" "$DIR/example.c" "$root/build/release/libskep.a" -lxxhash -lpthread -lm
	run "$DIR/example"
	[ "$output" = "returned 60" ]
}
