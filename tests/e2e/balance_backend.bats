#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The backend's role at each of its hooks: a backend at tc beside one at XDP behind skep's balancer,
# whole files in each family and mode; fallback, survival and the change of hooks.
load common
load balance

export NS=skep-lbtc

unpack_up() { # unpack_up NAME [OPTION...]: b1 at XDP, b2 at tc, unless told otherwise
	local hook=xdp
	[ "$1" = b1 ] || hook=tc
	role_up "$1" --hook $hook
}

role_up() { # role_up NAME [OPTION...]
	ip netns exec "$NS-$1" "$SKEP" balance backend --interface eth0 --gue-port 7080 --pin-dir "$DIR/bpf/$1" "${@:2}" 2>>"$DIR/$1/log" 3>&- &
	echo $! >"$DIR/$1/unpack.pid"
	echo $! >>"$DIR/pids"
	disown $!
	eventually 10 doctor_says "$1" 'unpacks .* at '
}

doctor_says() { # doctor_says NAME PATTERN
	in_ns "$1" "$SKEP" balance doctor --backend --interface eth0 >"$DIR/$1/doctor" || true
	grep -q "$2" "$DIR/$1/doctor"
}

role_end() { # role_end NAME [SIGNAL]
	kill "-${2:-TERM}" "$(cat "$DIR/$1/unpack.pid")"
	eventually 5 ended "$(cat "$DIR/$1/unpack.pid")"
}

ended() { ! kill -0 "$1" 2>/dev/null; }

counted() { # counted NAME: unpacked, handed on, cut short
	in_ns "$1" "$SKEP" balance doctor --backend --interface eth0 | sed -n 's/.*unpacks .* at .*: \([0-9]*\) packets unpacked, \([0-9]*\) handed on, \([0-9]*\) cut short/\1 \2 \3/p'
}

serve() { # serve NAME: says its name and the sum of what came, until the client's end
	local a
	for a in "TCP4-LISTEN:7" "TCP6-LISTEN:80,ipv6only=1"; do
		in_ns "$1" socat "$a,fork,reuseaddr" SYSTEM:"echo $1 \$(md5sum | cut -d' ' -f1)" 3>&- 2>/dev/null &
		echo $! >>"$DIR/pids"
	done
}

setup_file() {
	net_up b1 b2
	serve b1
	serve b2
	head -c 3000000 /dev/urandom >"$DIR/file"
	balancer_up 'guePort: 7080'
}

teardown_file() { net_down; }

teardown() {
	[ -n "${BATS_TEST_COMPLETED:-}" ] || { tail -n 5 "$DIR/agent.log" "$DIR"/b?/log "$DIR"/b?/doctor; "$SKEP" balance describe; } >&2
}

mode() { # mode MODE BACKEND...: addresses
	local vips="\"$VIP:7/tcp\", \"[$VIP6]:80/tcp\"" m=$1 b
	[ "$1-${2%%[:.]*}" != option-10 ] || vips="\"$VIP:7/tcp\""
	[ "$1-${2%%[:.]*}" != option-fd77 ] || vips="\"[$VIP6]:80/tcp\""
	shift
	{
		printf 'apiVersion: skep/v1\nkind: Service\nmetadata: {name: %s}\nspec:\n  vips: [%s]\n  mode: %s\n  backends:\n' "${NAME:-web}" "$vips" "$m"
		printf '    - {address: "%s"}\n' "$@"
	} >"$DIR/mode.yaml"
	"$SKEP" apply -f "$DIR/mode.yaml"
	for b in "$@"; do in_ns balancer ping -c 1 -W 2 "$b" >/dev/null; done
}

sum() { md5sum <"$1" | cut -d' ' -f1; }

sent() { # sent ADDRESS BACKEND [FILE]: the file arrives there as it is
	local file=${3:-$DIR/file}
	[ "$(in_ns client socat -t 9 -T 9 - "$1" <"$file")" = "$2 $(sum "$file")" ]
}

four() { sent "TCP4:$VIP:7" "$1" "${2:-}"; }
six() { sent "TCP6:[$VIP6]:80" "$1" "${2:-}"; }

@test "at tc whole files arrive, IP in IP and GUE, over and to either family" {
	doctor_says b2 'at tc'
	for m in ipip gue; do
		for b in 10.77.0.12 fd77::12; do
			mode $m $b
			eventually 10 four b2
			four b2
			six b2
			six b2
		done
	done
}

# Before XDP was ever at b2: a veth whose peer had it segments for ever after.
@test "at tc merged packets arrive whole: the device merges, the file is large" {
	in_ns b2 ethtool -K eth0 gro on
	head -c 30000000 /dev/urandom >"$DIR/large"
	mode ipip fd77::12
	eventually 10 four b2
	before=$(counted b2)
	four b2 "$DIR/large"
	after=$(counted b2)
	[ "$((${after%% *} - ${before%% *}))" -lt 15000 ] # one by one they would be 22,255
	six b2 "$DIR/large"
	mode ipip 10.77.0.12
	eventually 10 six b2
	four b2 "$DIR/large"
	six b2 "$DIR/large"
	mode gue 10.77.0.12
	eventually 10 four b2
	four b2 "$DIR/large"
}

@test "at tc an IP option is taken out, of either family" {
	mode option 10.77.0.12
	eventually 10 four b2
	mode option fd77::12
	eventually 10 six b2
}

@test "both hooks count the same packets" {
	head -c 700 /dev/urandom >"$DIR/small"
	for m in ipip gue; do
		for b in 1 2; do
			mode $m "10.77.0.1$b"
			eventually 10 four b$b "$DIR/small"
			before=$(counted b$b)
			for _ in $(seq 20); do in_ns client ping -c 1 -W 1 $VIP >/dev/null; done
			for i in $(seq 20); do printf x | in_ns client socat -u - "UDP4-SENDTO:$VIP:7"; done
			after=$(counted b$b)
			echo "$((${after%% *} - ${before%% *})) ${after#* }" >"$DIR/count$b"
		done
		cmp "$DIR/count1" "$DIR/count2"
	done
}

@test "at tc a connection that it does not know goes on to the second" {
	NAME=second mode gue 10.77.0.12
	ip -n $NS-client route replace $VIP via 10.77.0.11 mtu 1400
	mkfifo "$DIR/in"
	in_ns client socat -t 9 - "TCP4:$VIP:7" <"$DIR/in" >"$DIR/out" 3>&- &
	echo $! >>"$DIR/pids"
	exec 8>"$DIR/in"
	head -c 100 /dev/zero >&8
	sleep 0.5 # it is b1's, and the balancer does not know of it
	NAME=second mode gue 10.77.0.11
	before=$(counted b2)
	ip -n $NS-client route replace $VIP via 10.77.0.1 mtu 1400
	head -c 300000 /dev/zero >&8
	exec 8>&-
	said() { [ "$(cat "$DIR/out")" = "b1 $(sum <(head -c 300100 /dev/zero))" ]; }
	eventually 10 said
	after=$(counted b2)
	before=(${before}) after=(${after})
	[ $((after[1] - before[1])) -gt 200 ]
	[ "${after[2]}" = 0 ]
}

@test "killed it unpacks on, the next takes its place, told to stop it does not" {
	mode ipip 10.77.0.12
	eventually 10 four b2
	role_end b2 KILL
	four b2
	role_up b2 --hook tc
	four b2
	role_end b2
	refute doctor_says b2 'at tc'
	role_up b2 --hook tc
	four b2
}

@test "the hook changes: what the earlier one left is taken away" {
	mode ipip 10.77.0.12
	eventually 10 four b2
	role_end b2 KILL
	role_up b2
	doctor_says b2 'at XDP (native)'
	refute in_ns b2 test -e "$DIR"/bpf/b2/*/tc-eth0
	four b2
	role_end b2 KILL
	role_up b2 --hook tc
	doctor_says b2 'at tc'
	refute grep -q xdp <<<"$(ip -n $NS-b2 link show eth0)"
	six b2
}

@test "where XDP cannot be had it is tc, and it says why" {
	role_end b2
	ip -n $NS-switch link set b2 mtu 9000
	role_up b2
	ip -n $NS-switch link set b2 mtu 1500
	doctor_says b2 'at tc'
	grep 'unpacks at tc .*, not at XDP: attach to eth0: ' "$DIR/b2/log"
	mode ipip 10.77.0.12
	eventually 10 four b2
	role_end b2
	in_ns b2 "$SKEP" balance backend --interface eth0 --hook xdp --gue-port 9 2>/dev/null 3>&- & # in XDP's place
	other=$!
	echo $other >>"$DIR/pids"
	eventually 5 doctor_says b2 'at XDP'
	role_up b2
	eventually 5 grep 'unpacks at tc .*, not at XDP: attach to eth0: Device or resource busy' "$DIR/b2/log"
	role_end b2
	kill $other
	run in_ns b2 "$SKEP" balance backend --interface none
	[ "$status" = 1 ]
	[[ "$output" == *"no interface none"* ]]
	role_up b2 --hook tc
}
