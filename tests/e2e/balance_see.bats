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
	[[ "$output" == *"entry      10.77.0.12, last used about "[0-9]" s ago, confirmed: it decides"* ]]
	wait $!
}

@test "packets shows samples with what became of them, and writes a capture of what left" {
	services 11 12
	"$SKEP" balance packets --rate 250 --seconds 4 --out "$DIR/all.pcap" >"$DIR/packets" 3>&- &
	all=$!
	"$SKEP" balance packets web --reason forwarded --seconds 4 --json >"$DIR/web" 3>&- &
	web=$!
	sleep 1
	for p in $(seq 43001 43010); do in_ns client curl -s -m 1 --local-port $p "http://$VIP:80/" || true; done
	in_ns client curl -s -m 1 "http://$VIP:81/" || true
	wait $all $web
	grep -E "forwarded +tx +tcp 10.77.0.9:43001 > $VIP:80  web to 10.77.0.1[12], [0-9]+ bytes at eth0" "$DIR/packets"
	grep -E "unserved +pass +tcp 10.77.0.9:[0-9]+ > $VIP:81  - to -" "$DIR/packets"
	# a header of 24 bytes, and of each packet 16 and at most 128, which begin with the outer header
	n=$(wc -l <"$DIR/packets")
	[ "$(stat -c %s "$DIR/all.pcap")" -gt $((24 + n * (16 + 40))) ]
	[ "$(stat -c %s "$DIR/all.pcap")" -le $((24 + n * (16 + 128))) ]
	jq -se 'length > 0 and all(.reason == "forwarded" and .service == "web" and (.frame[28:32] | . == "4500") and .frame[46:48] == "04")' "$DIR/web"
	jq -se '[.[].time] | . == sort and . == unique' "$DIR/web"
}

@test "of several who ask for samples the highest rate holds, and a rate that is none is refused" {
	curl -s -X POST --unix-socket "$SKEP_SOCKET" "http://localhost/v1/balance/samples?rate=250&seconds=60"
	curl -s -X POST --unix-socket "$SKEP_SOCKET" "http://localhost/v1/balance/samples?rate=1&seconds=1"
	n=$("$SKEP" query 'select count(*) as n from packet' --json | jq .n)
	for p in $(seq 43101 43110); do in_ns client curl -s -m 1 --local-port $p "http://$VIP:80/" || true; done
	sleep 0.5
	[ "$("$SKEP" query 'select count(*) as n from packet' --json | jq .n)" -ge $((n + 5)) ]
	curl -s -X POST --unix-socket "$SKEP_SOCKET" "http://localhost/v1/balance/samples?rate=0"
	for rate in 0 251; do
		run "$SKEP" balance packets --rate $rate --seconds 1
		[ "$status" = 2 ]
		[[ "$output" == *"--rate"*"expected"* ]]
	done
}

@test "no samples are taken when nobody asks" {
	curl -s -X POST --unix-socket "$SKEP_SOCKET" "http://localhost/v1/balance/samples?rate=250&seconds=60"
	in_ns client curl -s -m 1 "http://$VIP:80/" || true
	eventually 5 sh -c "'$SKEP' query 'select count(*) as n from packet' --json | jq -e '.n > 0'"
	curl -s -X POST --unix-socket "$SKEP_SOCKET" "http://localhost/v1/balance/samples?rate=0"
	sleep 0.5
	n=$("$SKEP" query 'select count(*) as n from packet' --json)
	in_ns client curl -s -m 1 "http://$VIP:80/" || true
	sleep 0.5
	[ "$("$SKEP" query 'select count(*) as n from packet' --json)" = "$n" ]
}

@test "plan tells slots and connections that a change would touch, and changes nothing" {
	services 11 12
	run "$SKEP" balance plan -f "$DIR/services.yaml"
	[ "$status" = 0 ]
	[[ "$output" == "no changes"* ]]
	cp "$DIR/services.yaml" "$DIR/more.yaml"
	echo '    - {address: 10.77.0.13}' >>"$DIR/more.yaml"
	"$SKEP" balance plan -f "$DIR/more.yaml" --json >"$DIR/plan"
	[ "$(jq -r '.services[0].change, .touched_of_survivors, .touched' "$DIR/plan" | tr '\n' ' ')" = "changed 0 0 " ]
	jq -e ".services[0] | .slots_changed > 0 and .slots_changed < .slots" "$DIR/plan"
	run "$SKEP" apply -f "$DIR/services.yaml" --dry-run
	[ "$output" = "no changes" ]
	sed 's/^  backends:/  hash: source\n&/' "$DIR/services.yaml" >"$DIR/hash.yaml"
	run "$SKEP" balance plan -f "$DIR/hash.yaml"
	[[ "$output" == *"note: live connections without an entry may go to another backend"* ]]
}

@test "plan and simulate read all files that are named" {
	hex() { printf "$(sed 's/../\\x&/g' <<<"$1")"; }
	services 11 12
	printf 'apiVersion: skep/v1\nkind: Service\nmetadata: {name: more}\nspec: {vips: ["203.0.113.77:443/tcp"], backends: [{address: 10.77.0.12}]}\n' >"$DIR/second.yaml"
	"$SKEP" balance plan -f "$DIR/services.yaml" -f "$DIR/second.yaml" --json | jq -e '[.services[] | .change + " " + .name] == ["added more"]'
	{
		hex d4c3b2a1020004000000000000000000ffff000001000000 # a capture of Ethernet
		hex 00000000000000003600000036000000
		hex 02000000000102000000000208004500002800004000400600 # IPv4, TCP
		hex 00c6336407cb00714d9c4001bb00000000000000005002ffff00000000
	} >"$DIR/in.pcap"
	run "$SKEP" balance simulate -f "$DIR/second.yaml" -f "$DIR/services.yaml" --in "$DIR/in.pcap" --out "$DIR/out.pcap"
	[ "$output" = $'1\ttx\tforwarded\tmore\t10.77.0.12' ]
	[ "$(($(stat -c %s "$DIR/out.pcap") - $(stat -c %s "$DIR/in.pcap")))" = 20 ]
	echo 'kind: [' >>"$DIR/second.yaml"
	run "$SKEP" balance simulate -f "$DIR/services.yaml" -f "$DIR/second.yaml" --in "$DIR/in.pcap"
	[ "$status" = 1 ]
	[[ "$output" == *"second.yaml:"* ]]
}

@test "plan counts live connections of a backend that goes, and none of one that stays" {
	SPEC='drainSeconds: 0' services 11
	SPEC='drainSeconds: 0' services 11 12
	for p in $(seq 42001 42020); do in_ns client curl -s -m 1 --local-port $p "http://$VIP:80/" || true; done
	n=$(curl -s --unix-socket "$SKEP_SOCKET" http://localhost/metrics | awk '/^skep_balance_entries_total/ { print $2 }')
	[ "$n" -gt 0 ]
	sed '/10.77.0.12,/d' "$DIR/services.yaml" >"$DIR/less.yaml"
	"$SKEP" balance plan -f "$DIR/less.yaml" --json >"$DIR/plan"
	jq -e '.touched > 0 and .touched_of_survivors == 0' "$DIR/plan"
	jq -e '.services[0].backends[] | select(.address == "10.77.0.12") | .then == "gone" and .touched == .entries' "$DIR/plan"
	jq -e '.services[0].backends[] | select(.address == "10.77.0.11") | .then == "live" and .touched == 0' "$DIR/plan"
	run "$SKEP" balance plan -f "$DIR/less.yaml"
	[[ "$output" == *"changed web: connections that begin go elsewhere in"*"10.77.0.12  gone"* ]]
}

@test "doctor pings each backend in an outer header, short and as long as the way allows" {
	services 11 12
	run "$SKEP" balance doctor
	[ "$status" = 0 ]
	[ "$(grep -c '^ok    unpacks .*was answered' <<<"$output")" = 2 ]
	[ "$(grep -c '^ok    path .*1500 bytes arrive' <<<"$output")" = 2 ]
	grep -q '^ok    xdp         eth0 .*native' <<<"$output"
	grep -q '^warn  mtu ' <<<"$output"
}

@test "doctor tries a way of jumbo frames as far as a ping goes, and not this host itself" {
	services 11 1
	in_ns balancer ip route replace 10.77.0.11 dev eth0 mtu 9900
	run "$SKEP" balance doctor
	in_ns balancer ip route del 10.77.0.11
	[ "$(grep -c '^FAIL  unpacks' <<<"$output")" = 0 ]
	grep -q '^ok    unpacks .*10.77.0.1 .*this host' <<<"$output"
	refute grep -q 'Operation not supported' <<<"$output"
	grep -q ' path .*10.77.0.11 .*9420 bytes' <<<"$output"
}

@test "doctor finds a backend that does not unpack, a narrow path and forwarding switched off" {
	services 11 12
	kill "$(cat "$DIR/b1/unpack.pid")"
	ip -n $NS-b2 link set eth0 mtu 1400
	in_ns balancer sysctl -qw net.ipv4.ip_forward=0
	run "$SKEP" balance doctor --json
	in_ns balancer sysctl -qw net.ipv4.ip_forward=1
	ip -n $NS-b2 link set eth0 mtu 1500
	unpack_up b1
	[ "$status" = 1 ]
	[ "$(jq -r 'select(.result == "fail") | .what + " " + .who' <<<"$output" | sort | tr '\n' ,)" = \
		"forwarding IPv4,path 10.77.0.12,unpacks 10.77.0.11," ]
	jq -es 'map(select(.result == "fail" and (.fix | length) < 10)) | length == 0' <<<"$output"
}

@test "doctor at a backend wants a program or a tunnel, and addresses of services on lo" {
	run in_ns b2 "$SKEP" balance doctor --backend --interface eth0
	[ "$status" = 0 ]
	grep -q '^ok    addresses   lo .*2 addresses' <<<"$output"
	run in_ns client "$SKEP" balance doctor --backend --interface eth0
	[ "$status" = 1 ]
	grep -q '^FAIL  addresses ' <<<"$output"
	grep -q '^FAIL  xdp ' <<<"$output"
}
