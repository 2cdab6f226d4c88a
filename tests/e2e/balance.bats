#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# A client, a balancer and three backends on one switch, each in a namespace; the backends answer the
# client directly. What is lost is counted by the client.
load common

VIP=203.0.113.10
VIP6=2001:db8:f::10

# host NAME NUMBER: a namespace on the switch, with 10.77.0.NUMBER and fd77::NUMBER
host() {
	local ns=skep-lb-$1
	ip netns add "$ns"
	ip -n "$ns" link set lo up
	ip link add "eth0" netns "$ns" type veth peer name "$1" netns skep-lb-switch
	ip netns exec skep-lb-switch ethtool -K "$1" gro on tx off >/dev/null 2>&1
	ip netns exec "$ns" ethtool -K eth0 gro on tx off tso off gso off >/dev/null 2>&1
	ip -n skep-lb-switch link set "$1" master switch up
	ip -n "$ns" addr add "10.77.0.$2/24" dev eth0
	ip -n "$ns" addr add "fd77::$2/64" dev eth0 nodad
	ip -n "$ns" link set eth0 up
}

in_ns() { ip netns exec "skep-lb-$1" "${@:2}"; }

backend() { # backend NAME NUMBER
	host "$1" "$2"
	ip -n "skep-lb-$1" addr add $VIP/32 dev lo
	ip -n "skep-lb-$1" addr add $VIP6/128 dev lo nodad
	mkdir -p "$DIR/$1/www"
	echo "$1" >"$DIR/$1/www/index.html"
	cat >"$DIR/$1/nginx.conf" <<-C
		pid $DIR/$1/nginx.pid; error_log $DIR/$1/error.log; worker_processes 1;
		events { worker_connections 256; }
		http {
			access_log off; client_body_temp_path $DIR/$1/b; proxy_temp_path $DIR/$1/p;
			fastcgi_temp_path $DIR/$1/f; uwsgi_temp_path $DIR/$1/u; scgi_temp_path $DIR/$1/s;
			server { listen $VIP:80; listen [$VIP6]:80; root $DIR/$1/www; }
		}
	C
	in_ns "$1" nginx -c "$DIR/$1/nginx.conf" -e "$DIR/$1/error.log" 3>&-
	ip netns exec "skep-lb-$1" socat TCP-LISTEN:7,bind=$VIP,fork,reuseaddr \
		"SYSTEM:while read l; do echo $1 \$l; done" 3>&- 2>/dev/null &
	echo $! >>"$DIR/pids"
	ip netns exec "skep-lb-$1" "$SKEP" balance backend --interface eth0 2>"$DIR/$1/log" 3>&- &
	echo $! >>"$DIR/pids"
}

balancer_up() {
	cat >"$DIR/skep.yaml" <<-C
		apiVersion: skep/v1
		kind: Agent
		metadata: {name: test}
		spec:
		  listen: "off"
		  balance:
		    interfaces: [eth0]
		    pinDir: $DIR/bpf/skep
	C
	ip netns exec skep-lb-balancer "$SKEP" up --config "$DIR/skep.yaml" --state-dir "$DIR/state" --socket "$SKEP_SOCKET" 2>>"$DIR/agent.log" 3>&- &
	echo $! >"$DIR/pid"
	eventually 15 answers
}

answers() { "$SKEP" balance get >/dev/null 2>&1; }

services() { # services BACKEND[=WEIGHT]...: applied
	local b
	{
		printf 'apiVersion: skep/v1\nkind: Service\nmetadata: {name: web}\nspec:\n'
		printf '  vips: ["%s:80/tcp", "%s:7/tcp", "[%s]:80/tcp"]\n  backends:\n' $VIP $VIP $VIP6
		for b in "$@"; do printf '    - {address: 10.77.0.%s, weight: %s}\n' "${b%=*}" "${b#*=}"; done
	} | sed 's/weight: \([0-9]*\)}/weight: \1}/' >"$DIR/services.yaml"
	"$SKEP" apply -f "$DIR/services.yaml"
}

setup_file() {
	need_root
	export DIR=$(mktemp -d /tmp/skep-test.XXXXXX)
	export SKEP_SOCKET=$DIR/skep.sock
	export NETNS="skep-lb-switch skep-lb-client skep-lb-balancer skep-lb-b1 skep-lb-b2 skep-lb-b3"
	chmod 755 "$DIR"
	mkdir "$DIR/bpf"
	mount -t bpf bpf "$DIR/bpf"
	ip netns add skep-lb-switch
	ip -n skep-lb-switch link add switch type bridge
	ip -n skep-lb-switch link set switch up
	host balancer 1
	in_ns balancer sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward; echo 1 >/proc/sys/net/ipv6/conf/all/forwarding'
	# veth delivers what XDP_TX sends only to an end that has a program of its own: one that passes all
	ip netns exec skep-lb-switch "$SKEP" balance backend --interface balancer 2>/dev/null 3>&- &
	echo $! >>"$DIR/pids"
	host client 9
	ip -n skep-lb-client route add $VIP via 10.77.0.1 mtu 1400
	ip -n skep-lb-client route add $VIP6 via fd77::1 mtu 1400
	backend b1 11
	backend b2 12
	backend b3 13
	balancer_up
}

teardown_file() {
	[ ! -f "$DIR/live" ] || kill "$(cat "$DIR/live")" 2>/dev/null || true
	for n in b1 b2 b3; do [ ! -f "$DIR/$n/nginx.pid" ] || kill "$(cat "$DIR/$n/nginx.pid")" 2>/dev/null || true; done
	for p in $(cat "$DIR/pids" 2>/dev/null); do kill "$p" 2>/dev/null || true; done
	agent_down
	umount "$DIR/bpf" || true
	clean
}

teardown() {
	[ -n "${BATS_TEST_COMPLETED:-}" ] || { tail -n 5 "$DIR/agent.log" "$DIR"/b?/log; "$SKEP" balance describe; curl -s --unix-socket "$SKEP_SOCKET" http://localhost/metrics | grep balance; } >&2
}

page() { in_ns client curl -s -m 2 "http://$1/"; }
page_is() { [[ "$(page "$1")" == b? ]]; }

pages_of_all() { # neighbours are known once each backend has answered
	[ "$(for _ in $(seq 12); do page $VIP; done | sort -u | wc -l)" = 3 ] && page_is "[$VIP6]"
}

live_up() { # live_up N: connections that stay, answers in $DIR/live.out
	mkfifo "$DIR/live.in" 2>/dev/null || true
	ip netns exec skep-lb-client bash "$BATS_TEST_DIRNAME/live.bash" $VIP 7 "$1" <"$DIR/live.in" >"$DIR/live.out" 2>"$DIR/live.err" 3>&- &
	echo $! >"$DIR/live"
	exec 9>"$DIR/live.in"
	eventually 20 live_rounds 1
}
live_rounds() { [ "$(wc -l <"$DIR/live.out")" -ge "$1" ]; }
live_round() { # one more: sets $round
	local n
	n=$(wc -l <"$DIR/live.out")
	echo >&9
	eventually 120 live_rounds $((n + 1))
	round=$(tail -n 1 "$DIR/live.out")
}
live_down() {
	exec 9>&-
	kill "$(cat "$DIR/live")" 2>/dev/null || true
	rm -f "$DIR/live" "$DIR/live.in"
}

@test "pages come through the balancer, over IPv4 and IPv6, from each backend" {
	services 11=1 12=1 13=1
	eventually 20 pages_of_all
	for _ in $(seq 60); do page $VIP; page "[$VIP6]"; done | sort | uniq -c >"$DIR/pages"
	[ "$(awk '{ n += $1 } END { print n, NR }' "$DIR/pages")" = "120 3" ]
}

@test "the service's address answers a ping" {
	in_ns client ping -c 3 -W 2 $VIP | grep -q '3 received'
	in_ns client ping -c 3 -W 2 $VIP6 | grep -q '3 received'
}

@test "backends come, drain and go, and come again: no live connection breaks or moves" {
	services 11=1 12=1
	live_up 40
	first=$(tail -n 1 "$DIR/live.out")
	[[ "$first" == "lost 0 "* && "$first" == *b1* && "$first" == *b2* && "$first" != *b3* ]]
	services 11=1 12=1 13=1
	live_round
	[ "$round" = "$first" ]
	for _ in $(seq 30); do page $VIP; done | grep -q b3
	services 11=0 12=1 13=1
	live_round
	[ "$round" = "$first" ]
	[[ "$(for _ in $(seq 30); do page $VIP; done)" != *b1* ]]
	services 13=1
	live_round
	[ "$round" = "$first" ]
	[ "$(for _ in $(seq 30); do page $VIP; done | sort -u)" = b3 ]
	services 11=3 12=1 13=2
	live_round
	[ "$round" = "$first" ]
	live_down
}

@test "an agent that is killed leaves its balancer at work; the next one takes it over" {
	services 11=1 12=1 13=1
	live_up 30
	first=$(tail -n 1 "$DIR/live.out")
	services 11=1 12=1
	kill -9 "$(cat "$DIR/pid")"
	live_round
	[ "$round" = "$first" ]
	page_is $VIP
	balancer_up
	live_round
	[ "$round" = "$first" ]
	"$SKEP" balance get | grep -q '^web .* 2/'
	services 12=1 13=1
	live_round
	[ "$round" = "$first" ]
	[ "$(for _ in $(seq 30); do page $VIP; done | sort -u | tr '\n' ' ')" = "b2 b3 " ]
	live_down
}

@test "a drained backend keeps its connections and gets no more" {
	services 11=1 12=1
	live_up 20
	first=$(tail -n 1 "$DIR/live.out")
	"$SKEP" balance drain web 10.77.0.11
	live_round
	[ "$round" = "$first" ]
	[ "$(for _ in $(seq 30); do page $VIP; done | sort -u)" = b2 ]
	"$SKEP" balance drain web 10.77.0.11 --cancel # it outlives applies
	live_down
}

@test "what cannot be applied changes nothing, and is told with its place" {
	services 11=1
	printf 'apiVersion: skep/v1\nkind: Service\nmetadata: {name: web}\nspec:\n  vips: ["203.0.113.10:http/tcp"]\n' >"$DIR/bad.yaml"
	run "$SKEP" apply -f "$DIR/bad.yaml"
	[ "$status" -ne 0 ]
	[[ "$output" == *"bad.yaml:5:10: spec.vips[0]"* ]]
	page_is $VIP
	run "$SKEP" apply -f "$DIR/services.yaml" --dry-run
	[ "$output" = "no changes" ]
}

@test "metrics count what was forwarded" {
	services 11=1
	for _ in $(seq 5); do page $VIP; done
	curl -s --unix-socket "$SKEP_SOCKET" http://localhost/metrics >"$DIR/metrics"
	[ "$(awk '/^skep_balance_connections_total.*10.77.0.11/ { print ($2 >= 5) }' "$DIR/metrics")" = 1 ]
	[ "$(awk '/^skep_balance_packets_total.*"no_room"/ { print $2 }' "$DIR/metrics")" = 0 ]
}
