#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Each mode of forwarding, to backends that unpack with skep's own program: whole connections, and
# packets as large as the way takes.
load common
load balance

export NS=skep-lbpath

serve() { # serve NAME NUMBER: says its name, and how many bytes came, until the client's end
	local a
	for a in "TCP4-LISTEN:7" "TCP6-LISTEN:80,ipv6only=1"; do
		in_ns "$1" socat "$a,fork,reuseaddr" SYSTEM:"echo $1 \$(wc -c)" 3>&- 2>/dev/null &
		echo $! >>"$DIR/pids"
	done
}

setup_file() {
	GUE_PORT=7080 net_up b1 b2
	serve b1
	serve b2
	balancer_up 'guePort: 7080'
}

teardown_file() { net_down; }

teardown() {
	[ -n "${BATS_TEST_COMPLETED:-}" ] || { tail -n 5 "$DIR/agent.log" "$DIR"/b?/log; "$SKEP" balance describe; curl -s --unix-socket "$SKEP_SOCKET" http://localhost/metrics | grep balance_packets; } >&2
}

says() { # says ADDRESS BYTES: who answers, and the number of bytes that came
	head -c "$2" /dev/zero | in_ns client socat -t 5 -T 5 - "$1"
}

mode() { # mode MODE FAMILY
	local vips="\"$VIP:7/tcp\", \"[$VIP6]:80/tcp\"" backends='[{address: 10.77.0.11}, {address: 10.77.0.12}]'
	[ "$1-$2" != option-4 ] || vips="\"$VIP:7/tcp\""
	[ "$1-$2" != option-6 ] || vips="\"[$VIP6]:80/tcp\""
	[ "$2" = 4 ] || backends='[{address: "fd77::11"}, {address: "fd77::12"}]'
	printf 'apiVersion: skep/v1\nkind: Service\nmetadata: {name: %s}\nspec:\n  vips: [%s]\n  mode: %s\n  backends: %s\n' \
		"$1$2" "$vips" "$1" "$backends" >"$DIR/mode.yaml"
	"$SKEP" apply -f "$DIR/mode.yaml"
	in_ns balancer ping -c 1 -W 2 10.77.0.11 >/dev/null
	in_ns balancer ping -c 1 -W 2 10.77.0.12 >/dev/null
	in_ns balancer ping -c 1 -W 2 fd77::11 >/dev/null
	in_ns balancer ping -c 1 -W 2 fd77::12 >/dev/null
}

works() { # works ADDRESS: large and small, from both backends
	[[ "$(says "$1" 5)" == b?\ 5 ]] || return 1
	[[ "$(says "$1" 300000)" == b?\ 300000 ]] || return 1
	[ "$(for _ in $(seq 8); do says "$1" 1; done | sort -u | tr '\n' ' ')" = "b1 1 b2 1 " ]
}

four() { works "TCP4:$VIP:7"; }
six() { works "TCP6:[$VIP6]:80"; }

@test "IP in IP carries connections, over and to either family" {
	mode ipip 4
	eventually 20 four
	six
	mode ipip 6
	eventually 20 four
	six
}

@test "GUE carries connections, over and to either family" {
	mode gue 4
	eventually 20 four
	six
	mode gue 6
	eventually 20 four
	six
}

@test "link addresses carry connections, of either family" {
	mode l2 4
	eventually 20 four
	six
}

@test "an IP option carries connections, of either family" {
	mode option 4
	eventually 20 four
	mode option 6
	eventually 20 six
}

@test "connections go on while the mode of their backends changes" {
	mode ipip 4
	eventually 20 four
	mkfifo "$DIR/in"
	in_ns client socat -t 5 - "TCP4:$VIP:7" <"$DIR/in" >"$DIR/out" 3>&- &
	echo $! >>"$DIR/pids"
	exec 8>"$DIR/in"
	for m in ipip gue l2 ipip; do
		sed -i "s/mode: .*/mode: $m/" "$DIR/mode.yaml"
		"$SKEP" apply -f "$DIR/mode.yaml"
		head -c 10000 /dev/zero >&8
		sleep 0.2
	done
	exec 8>&-
	said() { [[ "$(cat "$DIR/out")" == b?\ 40000 ]]; }
	eventually 10 said
}
