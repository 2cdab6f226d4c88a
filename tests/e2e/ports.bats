#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Ports: live frames for XDP programs of the engine. Counts are held against the kernel's own of the
# interfaces; frames are of a type that nobody else sends, and there is no IPv6.
load common

FRAMES=500

setup_file() {
	need_root
	export DIR=$(mktemp -d /tmp/skep-test.XXXXXX)
	chmod 755 "$DIR"
	export OBJ=$DIR/forward.bpf.o
	clang -target bpf -O2 -g "-I/usr/include/$(uname -m)-linux-gnu" -c "$BATS_TEST_DIRNAME/run/forward.bpf.c" -o "$OBJ"
	clang -target bpf -O2 -g "-I/usr/include/$(uname -m)-linux-gnu" -c "$BATS_TEST_DIRNAME/run/plain.bpf.c" -o "$DIR/plain.o"
	clang -target bpf -O2 -g "-I/usr/include/$(uname -m)-linux-gnu" -c "$BATS_TEST_DIRNAME/run/tc.bpf.c" -o "$DIR/tc.o"
	cc -o "$DIR/attach" "$BATS_TEST_DIRNAME/exec/attach.c" -lbpf
	cc -o "$DIR/live-frames" "$BATS_TEST_DIRNAME/exec/live.c" -lbpf
	for _ in $(seq $FRAMES); do
		printf '\xff\xff\xff\xff\xff\xff\x02\x00\x00\x00\x00\x01\x88\xb5'
		head -c 46 /dev/zero
	done >"$DIR/frames"
	head -c 600 "$DIR/frames" >"$DIR/ten"
}
teardown_file() { clean; }

setup() {
	[ -n "${DIR:-}" ] || skip "needs root"
	NS=skep-p$$-$BATS_TEST_NUMBER
	netns "$NS"
	ip netns exec "$NS" sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1
	for i in 1 2 3; do # far ends are w1 w2 w3
		ip -n "$NS" link add p$i type veth peer name w$i
		ip -n "$NS" link set p$i up
		ip -n "$NS" link set w$i up
	done
}
teardown() {
	for p in ${PIDS:-}; do kill "$p" 2>/dev/null || true; done
	[ -z "${NS:-}" ] || ip netns del "$NS" 2>/dev/null || true
}

in_ns() { ip netns exec "$NS" "$@"; }
index() { in_ns cat "/sys/class/net/$1/ifindex"; }
count() { in_ns cat "/sys/class/net/$1/statistics/$2_packets"; }
send() { in_ns timeout 20 socat -u -b 60 "OPEN:${2:-$DIR/frames}" "INTERFACE:$1"; }

# live OPTION...: skep run in the background; its ports are open when this returns.
live() {
	in_ns timeout 30 "$SKEP" run "${LIVE_OBJ:-$OBJ}" --unsafe --json "$@" >"$DIR/live.json" 2>"$DIR/live.err" 3>&- &
	LIVE=$!
	PIDS="${PIDS:-} $LIVE"
	sleep 1.5
	kill -0 $LIVE
}
# what live said, once it was told to end
result() {
	sleep 1
	kill -INT "$(pgrep -P $LIVE)" 2>/dev/null || kill -INT $LIVE
	wait $LIVE
	cat "$DIR/live.err"
	jq -c . "$DIR/live.json"
}
says() { jq -e "$1" "$DIR/live.json" >/dev/null; }

@test "what a program sends back arrives where it came from" {
	for kind in packet xdp; do
		before=$(count w1 rx)
		live --prog reflect --port a=$kind:p1 --dump forward.bss
		send w1
		result
		says ".verdicts == {XDP_TX: $FRAMES} and .maps[\"forward.bss\"][0].value.seen == $FRAMES"
		says ".ports[0] | .received == $FRAMES and .sent == $FRAMES and .lost == 0 and .unsent == 0"
		[ "$(($(count w1 rx) - before))" -eq $FRAMES ]
	done
}

@test "a devmap leads frames from one port to another, of the same kind or not" {
	for kinds in "packet packet" "xdp xdp" "xdp packet" "packet xdp"; do
		set -- $kinds
		before=$(count w2 rx)
		live --prog forward --port a=$1:p1 --port b=$2:p2 --set "to:$(index p1)=@b" --set "to:$(index p2)=@a"
		send w1
		result
		says ".verdicts == {XDP_REDIRECT: $FRAMES}"
		says ".ports[1] | .sent == $FRAMES and .unsent == 0"
		[ "$(($(count w2 rx) - before))" -eq $FRAMES ]
	done
}

@test "bpf_redirect leads to a port's ifindex; to what is no port it leads astray" {
	before=$(count w2 rx)
	live --prog direct --set target=@b --port a=packet:p1 --port b=packet:p2
	send w1
	result
	[ "$(($(count w2 rx) - before))" -eq $FRAMES ]
	live --prog direct --set target=@p3 --port a=packet:p1 --port b=packet:p2
	send w1
	result
	says ".ports[0].astray == $FRAMES and .ports[1].sent == 0"
}

@test "a broadcast reaches every port but the one it came from" {
	live --prog broadcast --port a=xdp:p1 --port b=xdp:p2 --port c=packet:p3 --set all:0=@a --set all:1=@b --set all:2=@c
	before="$(count w1 rx) $(count w2 rx) $(count w3 rx)"
	send w1
	result
	set -- $before
	[ "$(($(count w1 rx) - $1)) $(($(count w2 rx) - $2)) $(($(count w3 rx) - $3))" = "0 $FRAMES $FRAMES" ]
}

@test "what is passed reaches the stack through a TAP, and the stack answers through it" {
	live --prog pass --port a=xdp:p1,stack=st1
	in_ns sh -c 'echo 1 >/proc/sys/net/ipv4/conf/st1/proxy_arp'
	before=$(count w1 rx)
	send w1
	[ "$(count st1 rx)" -eq $FRAMES ]
	send st1 "$DIR/ten"
	result
	says ".ports[0] | .passed == $FRAMES and .unpassed == 0 and .sent == 10"
	[ "$(($(count w1 rx) - before))" -eq 10 ]
	live --prog pass --port a=xdp:p1
	send w1
	result
	says ".ports[0] | .passed == 0 and .unpassed == $FRAMES"
}

@test "captures come in and go out, beside interfaces too" {
	live --prog direct --set target=@out --port in=packet:p1 --port out=pcap:,"$DIR/seen.pcap"
	send w1 "$DIR/ten"
	result
	[ "$(stat -c %s "$DIR/seen.pcap")" -eq $((24 + 10 * (16 + 60))) ]
	"$SKEP" run "$OBJ" --prog reflect --port c=pcap:"$DIR/seen.pcap,$DIR/back.pcap" --unsafe --json | jq -e '.verdicts == {XDP_TX: 10}'
	"$SKEP" run "$OBJ" --prog reflect --in "$DIR/seen.pcap" --out "$DIR/want.pcap" --unsafe --json | jq -e '.verdicts == {XDP_TX: 10}'
	cmp "$DIR/back.pcap" "$DIR/want.pcap"
}

@test "a command under skep exec attaches to a port's interface" {
	mkfifo "$DIR/end"
	for kind in packet xdp; do
		before=$(count w1 rx)
		in_ns "$SKEP" exec --port p1=$kind:p1 --unsafe -- "$DIR/attach" "$OBJ" reflect p1 <"$DIR/end" >"$DIR/said" 3>&- &
		PIDS=$!
		exec 9>"$DIR/end"
		eventually 10 grep -q attached "$DIR/said"
		send w1
		sleep 0.3
		[ "$(($(count w1 rx) - before))" -eq $FRAMES ]
		exec 9>&-
		wait $PIDS
	done
}

@test "live frames of BPF_PROG_TEST_RUN leave by the port that the context names, or where they are led" {
	local p1=$(index p1) p2=$(index p2)
	for kind in packet xdp; do
		run_live() { in_ns timeout 30 "$SKEP" exec --unsafe --port p1=$kind:p1 --port p2=$kind:p2 -- "$DIR/live-frames" "$OBJ" "$@"; }
		before="$(count w1 rx) $(count w2 rx)"
		run_live reflect "$p1" 1000
		run_live forward "$p1" 777 "$p2"
		sleep 0.3
		set -- $before
		[ "$(($(count w1 rx) - $1)) $(($(count w2 rx) - $2))" = "1000 777" ]
	done
	in_ns "$SKEP" exec --unsafe --port p1=xdp:p1,stack=st1 -- \
		sh -c 'before=$(cat /sys/class/net/st1/statistics/rx_packets); "$@"; echo $(($(cat /sys/class/net/st1/statistics/rx_packets) - before))' \
		sh "$DIR/live-frames" "$OBJ" pass "$p1" 300 | tee "$DIR/said"
	[ "$(cat "$DIR/said")" = "ran
300" ]
}

@test "live frames into a capture are written at the end of the command; where no port is they are refused" {
	"$SKEP" exec --unsafe --port c=pcap:,"$DIR/made.pcap" -- "$DIR/live-frames" "$OBJ" reflect 1000000 130
	[ "$(stat -c %s "$DIR/made.pcap")" -eq $((24 + 130 * (16 + 60))) ]
	run "$SKEP" exec --unsafe --port c=pcap:,"$DIR/made.pcap" -- "$DIR/live-frames" "$OBJ" reflect 1000001 130
	[ "$output" = "No such device" ]
	run "$SKEP" exec --unsafe -- "$DIR/live-frames" "$OBJ" reflect 1 130
	[ "$output" = "Operation not supported" ]
}

@test "tc programs see what XDP leaves: they drop it, lead it out of another port, copy it, or let it up" {
	LIVE_OBJ=$DIR/tc.o
	for kind in packet xdp; do
		before=$(count w2 rx)
		live --prog lead --port a=$kind:p1 --port b=$kind:p2 --set target=@b --dump tc.bss
		send w1
		result
		says ".verdicts == {TC_ACT_REDIRECT: $FRAMES} and .maps[\"tc.bss\"][0].value.wrong == 0 and .ports[1].sent == $FRAMES"
		[ "$(($(count w2 rx) - before))" -eq $FRAMES ]
	done
	before=$(count w2 rx)
	live --prog copy --port a=xdp:p1,stack=st1 --port b=xdp:p2 --set target=@b
	send w1
	[ "$(count st1 rx)" -eq $FRAMES ]
	result
	says ".verdicts == {TC_ACT_OK: $FRAMES} and .ports[0].passed == $FRAMES"
	[ "$(($(count w2 rx) - before))" -eq $FRAMES ]
}

@test "tc programs of a command stand in a chain, in and out" {
	mkfifo "$DIR/end2"
	sees() { # HOOK IFACE PROG...: how many frames leave p2 when they come in at p1
		local before=$(count w2 rx)
		in_ns "$SKEP" exec --port p1=packet:p1 --port p2=packet:p2 --unsafe -- "$DIR/tcx" "$DIR/tc-$(index p2).o" "$@" <"$DIR/end2" >"$DIR/said" 3>&- &
		PIDS=$!
		exec 9>"$DIR/end2"
		eventually 10 grep -q attached "$DIR/said"
		send w1
		sleep 0.5
		exec 9>&-
		wait $PIDS
		echo "$(($(count w2 rx) - before))"
	}
	cp "$BATS_TEST_DIRNAME/../../build/e2e/exec/tcx" "$DIR/tcx"
	sed "s/^const volatile __u32 target;/static const __u32 target = $(index p2);/" "$BATS_TEST_DIRNAME/run/tc.bpf.c" >"$DIR/tc-fixed.bpf.c"
	clang -target bpf -O2 -g "-I/usr/include/$(uname -m)-linux-gnu" -c "$DIR/tc-fixed.bpf.c" -o "$DIR/tc-$(index p2).o"
	[ "$(sees ingress p1 lead)" -eq $FRAMES ]
	[ "$(sees ingress p1 mark ingress p1 drop_marked ingress p1 lead)" -eq 0 ]
	[ "$(sees ingress p1 drop_marked ingress p1 mark ingress p1 lead)" -eq $FRAMES ]
	[ "$(sees ingress p1 drop_marked ingress p1 lead ingress p1 mark before)" -eq 0 ]
	[ "$(sees ingress p1 lead egress p2 mark egress p2 drop_marked)" -eq 0 ]
	[ "$(sees ingress p1 lead egress p1 mark egress p1 drop_marked)" -eq $FRAMES ]
}

@test "xdp-loader puts programs one behind the other, and frames go through all of them" {
	xdp=$(dirname "$(dpkg -L xdp-tools libxdp1 | grep xdpfilt_alw_all.o)")
	cat >"$DIR/loader" <<-END
		xdp-loader load p1 $xdp/xdpfilt_alw_all.o && xdp-loader load p1 "$OBJ" -n reflect || exit 1
		xdp-loader status p1
		touch "$DIR/loaded"
		while [ ! -e "$DIR/sent" ]; do sleep 0.1; done
		bpftool -j map dump name forward.bss
		xdp-loader unload p1 -a && xdp-loader status p1
	END
	before=$(count w1 rx)
	in_ns timeout 60 "$SKEP" exec --root --unsafe --port p1=packet:p1 -- sh "$DIR/loader" >"$DIR/said" 2>&1 3>&- &
	PIDS=$!
	eventually 20 test -e "$DIR/loaded" || { cat "$DIR/said"; false; }
	send w1
	sleep 0.3
	[ "$(($(count w1 rx) - before))" -eq $FRAMES ]
	touch "$DIR/sent"
	wait $PIDS
	cat "$DIR/said"
	[ "$(grep -c '^ => ' "$DIR/said")" = 2 ]
	grep -q "\"seen\":$FRAMES}" "$DIR/said"
	grep -q 'p1 *<No XDP program loaded!>' "$DIR/said"
}

@test "ip and bpftool net attach, show, replace and take off what the engine runs, with the kernel's errors" {
	for how in 'skep exec' kernel; do
		cat >"$DIR/netlink" <<-END
			exec 2>&1
			bpftool prog load "$DIR/plain.o" "/sys/fs/bpf/one" && bpftool prog load "$DIR/plain.o" "/sys/fs/bpf/two"
			state() { ip -j link show p3 | jq -c '.[0].xdp | {mode, name: .prog.name}'; }
			state
			bpftool net attach xdp pinned "/sys/fs/bpf/one" dev p3; state
			bpftool net attach xdp pinned "/sys/fs/bpf/two" dev p3
			bpftool net attach xdp pinned "/sys/fs/bpf/two" dev p3 overwrite; state
			bpftool net attach xdpgeneric pinned "/sys/fs/bpf/one" dev p3
			ip link set dev p3 xdpoffload pinned "/sys/fs/bpf/one"
			ip link set dev p3 xdp off; state
			ip link set dev p3 xdpgeneric pinned "/sys/fs/bpf/one"; state
			ip link set dev p3 xdp off; state
			ip link set dev p3 xdpgeneric off; state
			ip link set dev p3 xdp obj "$DIR/plain.o" sec xdp; state
			bpftool net detach xdp dev p3; state
			bpftool net attach xdp pinned "/sys/fs/bpf/one" dev nowhere
			rm "/sys/fs/bpf/one" "/sys/fs/bpf/two"
		END
		if [ "$how" = kernel ]; then
			in_ns sh -c 'mount -t bpf bpf /sys/fs/bpf && exec bash '"$DIR/netlink" >"$DIR/of-kernel"
		else
			in_ns timeout 60 "$SKEP" exec --root -- bash "$DIR/netlink" >"$DIR/of-skep"
		fi
	done
	cat "$DIR/of-skep"
	diff "$DIR/of-kernel" "$DIR/of-skep"
	grep -q '"plain"' "$DIR/of-skep"
}

@test "a program beside something else in one message is refused, and nothing of it done" {
	cat >"$DIR/beside" <<-END
		exec 2>&1
		bpftool prog load "$DIR/plain.o" /sys/fs/bpf/one
		for what in "mtu 1400" "alias x" "multicast off"; do
			ip link set dev p3 \$what xdp pinned /sys/fs/bpf/one && exit 1
		done
		ip -j link show p3 | jq -c '.[0] | [.mtu, .ifalias, .xdp.prog.name]'
		ip link set dev p3 xdp pinned /sys/fs/bpf/one && ip link set dev p3 mtu 1400 && ip link set dev p3 xdp off
		ip -j link show p3 | jq -c '.[0].mtu'
		ip link set dev p3 mtu 1500
	END
	run in_ns timeout 60 "$SKEP" exec --root -- bash "$DIR/beside"
	echo "$output"
	[ "$(grep -c 'IFLA_XDP goes in a message of its own' <<<"$output")" = 3 ]
	grep -qx '\[1500,null,null\]' <<<"$output"
	[ "${lines[-1]}" = 1400 ]
}

@test "an ordinary user has ports in a network namespace of his own" {
	local tap='--port t=tap:tap1' sent=10,10
	# udev makes it everybody's; without udev it is root's
	[ "$(stat -c %a /dev/net/tun)" = 666 ] || { tap='' sent=10; echo "# without a TAP: /dev/net/tun is root's here" >&3; }
	cat >"$DIR/alone" <<-END
		ip link add q1 type veth peer name v1 && ip link set q1 up && ip link set v1 up || exit 1
		"$SKEP" run "$OBJ" --prog reflect --port a=packet:q1 $tap --seconds 4 --json &
		sleep 1.5
		socat -u -b 60 OPEN:"$DIR/ten" INTERFACE:v1
		[ -z "$tap" ] || socat -u -b 60 OPEN:"$DIR/ten" INTERFACE:tap1
		wait
	END
	run setpriv --reuid=65534 --regid=65534 --clear-groups unshare -rn timeout 20 bash "$DIR/alone"
	echo "$output"
	[ "$status" -eq 0 ]
	[ "$(jq -c '.ports | map(.sent)' <<<"$output")" = "[$sent]" ]
}

@test "what is wrong is said in one sentence" {
	run in_ns "$SKEP" run "$OBJ" --prog pass --port a=packet:nowhere
	[ "$status" -eq 1 ]
	[[ "$output" == *"port a: there is no interface nowhere here"* ]]
	run in_ns "$SKEP" run "$OBJ" --prog pass --port a=xdp:p1/7
	[ "$status" -eq 1 ]
	[[ "$output" == *"no queue 7"* ]]
	run in_ns "$SKEP" run "$OBJ" --prog pass --port a=p1
	[[ "$output" == *"NAME=pcap:..., packet:..., xdp:... or tap:..."* ]]
	run in_ns setpriv --reuid=65534 --regid=65534 --clear-groups "$SKEP" run "$OBJ" --prog pass --port a=packet:p1
	[ "$status" -ne 0 ]
	[[ "$output" == *"AF_PACKET needs CAP_NET_RAW"* ]]
	run in_ns setpriv --reuid=65534 --regid=65534 --clear-groups "$SKEP" run "$OBJ" --prog pass --port a=xdp:p1
	[[ "$output" == *"AF_XDP needs"* ]]
	run in_ns "$SKEP" run "$OBJ" --prog filter --port a=packet:p1
	[[ "$output" == *"programs of type xdp or sched_cls, not"* ]]
	run in_ns "$SKEP" run "$OBJ" --prog pass --port a=packet:p1 --port b=packet:p1
	[[ "$output" == *"another port has its ifindex"* ]]
	run in_ns "$SKEP" exec --port a=packet:nowhere -- true
	[ "$status" -eq 125 ]
	[[ "$output" == *"there is no interface nowhere here"* ]]
}
