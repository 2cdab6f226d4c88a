#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# What can be asked of a balancer that is at work.
load common
load balance

setup_file() {
	export NS=skep-lbsee
	net_up b1 b2
	balancer_up
	services 11 12
	neighbours_known 11 12
}

teardown_file() { net_down; }

teardown() {
	[ -n "${BATS_TEST_COMPLETED:-}" ] || { echo "${output:-}"; tail -n 5 "$DIR/agent.log"; } >&2
}

@test "why tells service, slot, backend, next hop and outer header of a packet" {
	run "$SKEP" balance why "tcp 198.51.100.7:40000 > $VIP:80"
	[ "$status" = 0 ]
	[[ "$output" == *"interface  eth0"*"service    web ("* && "$output" == *"no state is kept"* ]]
	[[ "$output" == *"backend    10.77.0.1"*", live, weight 1"* ]]
	[[ "$output" == *"leaves     behind another IP header: 10.77.0.1 > 10.77.0.1"*", 60 bytes"* ]]
	run "$SKEP" balance why "tcp [2001:db8:9::7]:40000 > [$VIP6]:80" --json
	[ "$status" = 0 ]
	[ "$(jq -r '.service + " " + .reason' <<<"$output")" = "web forwarded" ]
}

@test "why names the reason where a packet reaches no backend, and what to do" {
	run "$SKEP" balance why "tcp 198.51.100.7:40000 > $VIP:81"
	[ "$status" = 1 ]
	[[ "$output" == *"verdict    pass: unserved"* && "$output" == *"to do "* ]]
	run "$SKEP" balance why "udp 198.51.100.7:40000 > 203.0.113.99:53"
	[ "$status" = 1 ]
	[[ "$output" == *"foreign"* ]]
	run "$SKEP" balance why "tcp 198.51.100.7 > $VIP:80"
	[ "$status" = 1 ]
	[[ "$output" == *"expected 'tcp ADDR:PORT"* ]]
}

@test "why answers for ICMP, also about a connection, and for packets too big for the way" {
	run "$SKEP" balance why "icmp echo 198.51.100.7 > $VIP"
	[[ "$status" = 0 && "$output" == *"tx: echo"* ]]
	direct=$("$SKEP" balance why "tcp 198.51.100.7:40000 > $VIP:80" --json | jq -r .backend)
	about=$("$SKEP" balance why "icmp about tcp 198.51.100.7:40000 > $VIP:80" --json | jq -r .backend)
	[ "$about" = "$direct" ]
	run "$SKEP" balance why "tcp 198.51.100.7:40000 > $VIP:80 ack bytes=1450"
	[[ "$output" == *too_big_told* && "$output" == *MTU* ]]
}

@test "why changes nothing: neither counters nor the flow table" {
	services 11
	services 12 11=0
	curl -s --unix-socket "$SKEP_SOCKET" http://localhost/metrics | grep -E '^skep_balance_(forw|byt|conn|ent|full)|service="web"' >"$DIR/before"
	for p in $(seq 40001 40040); do "$SKEP" balance why "tcp 198.51.100.7:$p > $VIP:80" >>"$DIR/why"; done
	grep -q 'this packet would leave one' "$DIR/why"
	grep -q 'connection that lives of these ends would go to 10.77.0.11' "$DIR/why"
	curl -s --unix-socket "$SKEP_SOCKET" http://localhost/metrics | grep -E '^skep_balance_(forw|byt|conn|ent|full)|service="web"' >"$DIR/after"
	diff "$DIR/before" "$DIR/after"
}

@test "why tells the entry of a connection that has one, with its age and backend" {
	services 11
	services 12 11=0
	ip netns exec $NS-b2 socat TCP-LISTEN:7,bind=$VIP,fork,reuseaddr EXEC:cat 3>&- &
	echo $! >>"$DIR/pids"
	sleep 0.3
	{ echo hello; sleep 2; } | in_ns client socat - "TCP:$VIP:7,sourceport=41234" >"$DIR/echo" 3>&- &
	eventually 5 grep -q hello "$DIR/echo"
	run "$SKEP" balance why "tcp 10.77.0.9:41234 > $VIP:7 ack"
	[[ "$output" == *"entry      10.77.0.12, last used about 0 s ago, confirmed: it decides"* ]]
	wait $!
}
