#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Services at sockets: a cgroup whose processes are served, and a namespace with servers on addresses of
# their own. No packet ever has a service's address: nobody has it.
load common

SOCKS=$BATS_TEST_DIRNAME/../../build/e2e/sock/sock
NS=skep-lbsock

setup_file() {
	need_root
	MOUNT=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)
	[ -n "$MOUNT" ] || skip "no cgroup2"
	export DIR=$(mktemp -d /tmp/skep-test.XXXXXX)
	export CG=$MOUNT/skep-lbsock NETNS=$NS
	mkdir "$DIR/bpf" "$CG"
	mount -t bpf bpf "$DIR/bpf"
	ip netns add $NS
	ip -n $NS link set lo up
	for n in 1 2 3; do
		ip -n $NS addr add 10.88.0.$n/32 dev lo
		ip -n $NS addr add fd88::$n/128 dev lo nodad
		serve b$n 10.88.0.$n 8080 fd88::$n 8080
	done
	up
}

serve() { # serve NAME ADDRESS PORT...
	ip netns exec $NS "$SOCKS" serve "$@" 2>>"$DIR/servers" 3>&- &
	echo $! >"$DIR/server-$1"
}

up() {
	agent_up "  balance: {cgroup: /skep-lbsock, pinDir: $DIR/bpf/skep}"
}

teardown_file() {
	agent_down
	for f in "$DIR"/server-* "$DIR"/client-*; do [ ! -f "$f" ] || kill "$(cat "$f")" 2>/dev/null || true; done
	umount "$DIR/bpf" || true
	sleep 0.2
	rmdir "$CG" || true
	clean
}

teardown() {
	[ -n "${BATS_TEST_COMPLETED:-}" ] || { tail -n 5 "$DIR/agent.log"; "$SKEP" balance get --json; } >&2
}

# client VERB...: in the namespace and the cgroup
inside() { sh -c 'echo $$ >"$0/cgroup.procs"; exec ip netns exec "$@"' "$CG" $NS "$@"; }
client() { inside "$SOCKS" "$@"; }
# outside VERB...: in the namespace, but not in the cgroup
outside() { ip netns exec $NS "$SOCKS" "$@"; }

# services SPEC...: "NAME VIPS BACKENDS [KEYS]", lists of YAML without brackets; applied
services() {
	local s name vips backends keys
	for s in "$@"; do
		IFS='|' read -r name vips backends keys <<<"$s"
		printf -- '---\napiVersion: skep/v1\nkind: Service\nmetadata: {name: %s}\nspec:\n  socket: true\n  vips: [%s]\n  backends: [%s]\n' "$name" "$vips" "$backends"
		[ -z "$keys" ] || echo "  $keys"
	done >"$DIR/services.yaml"
	"$SKEP" apply -f "$DIR/services.yaml"
}

B1='{address: 10.88.0.1, port: 8080}' B2='{address: 10.88.0.2, port: 8080}' B3='{address: 10.88.0.3, port: 8080}'
S1='{address: "fd88::1", port: 8080}' S2='{address: "fd88::2", port: 8080}'
TCP='"10.96.0.10:80/tcp"' UDP='"10.96.0.10:53/udp"' SIX='"[fd96::10]:80/tcp"' SIX_UDP='"[fd96::10]:53/udp"'

web() { services "web|$TCP, $UDP|$1|${2:-}"; }
names() { cut -d' ' -f1 | sort | uniq | tr '\n' ' '; }
times() { local n=$1; shift; for _ in $(seq "$n"); do "$@"; done; }

@test "a connect to the service reaches its backends, each of them, and is told the service's address" {
	web "$B1, $B2, $B3"
	times 40 client tcp 10.96.0.10 80 >"$DIR/out"
	[ "$(names <"$DIR/out")" = "b1 b2 b3 " ]
	[ "$(cut -d' ' -f2 "$DIR/out" | sort -u)" = 10.96.0.10:80 ]
}

@test "a Service of Kubernetes is served at its cluster address" {
	"$SKEP" apply -f - <<-END
		apiVersion: v1
		kind: Service
		metadata: {name: web, namespace: shop}
		spec: {clusterIP: 10.96.0.77, ports: [{name: http, port: 80}]}
		---
		apiVersion: v1
		kind: Service
		metadata: {name: local, namespace: shop}
		spec: {clusterIP: 10.96.0.78, internalTrafficPolicy: Local, ports: [{name: http, port: 80}]}
		$(for s in web local; do cat <<-SLICE
		---
		apiVersion: discovery.k8s.io/v1
		kind: EndpointSlice
		metadata: {name: $s-1, namespace: shop, labels: {kubernetes.io/service-name: $s}}
		addressType: IPv4
		ports: [{name: http, port: 8080}]
		endpoints: [{addresses: [10.88.0.1], nodeName: $(uname -n)}, {addresses: [10.88.0.2], nodeName: elsewhere}]
		SLICE
		done)
	END
	times 30 client tcp 10.96.0.77 80 >"$DIR/out"
	[ "$(names <"$DIR/out")" = "b1 b2 " ]
	times 20 client tcp 10.96.0.78 80 >"$DIR/out"
	[ "$(names <"$DIR/out")" = "b1 " ]
}

@test "no process of the cgroup takes a node port" {
	take() { sh -c 'echo $$ >"$0/cgroup.procs"; exec timeout 1 socat "$1" - </dev/null 2>&1' "$CG" "$1"; }
	services "web|$TCP|$B1|nodePort: 30880"
	run take TCP-LISTEN:30880,bind=127.0.0.1
	[ "$status" = 1 ]
	[[ "$output" == *"in use"* || "$output" == *"not permitted"* ]]
	run take UDP-LISTEN:30880,bind=127.0.0.1
	[ "$status" = 124 ]
	run take TCP-LISTEN:30881,bind=127.0.0.1
	[ "$status" = 124 ]
	web "$B1"
	run take TCP-LISTEN:30880,bind=127.0.0.1
	[ "$status" = 124 ]
}

@test "the same over IPv6" {
	services "six|$SIX, $SIX_UDP|$S1, $S2"
	times 30 client tcp fd96::10 80 >"$DIR/out"
	[ "$(names <"$DIR/out")" = "b1 b2 " ]
	[ "$(cut -d' ' -f2 "$DIR/out" | sort -u)" = '[fd96::10]:80' ]
	[[ "$(client udp fd96::10 53)" =~ ^b[12]\ \[fd96::10\]:53\ \[fd96::10\]:53$ ]]
	[[ "$(client talk 1 fd96::10 53)" =~ ^b[12]\ \[fd96::10\]:53$ ]]
}

@test "an IPv4 address in an IPv6 socket is the IPv4 service" {
	web "$B1"
	[ "$(client tcp ::ffff:10.96.0.10 80)" = "b1 [::ffff:10.96.0.10]:80" ]
	[ "$(client udp ::ffff:10.96.0.10 53)" = "b1 [::ffff:10.96.0.10]:53 [::ffff:10.96.0.10]:53" ]
	[ "$(client talk 1 ::ffff:10.96.0.10 53)" = "b1 [::ffff:10.96.0.10]:53" ]
}

@test "datagrams of a connected socket come from the service's address" {
	web "$B1, $B2"
	times 20 client udp 10.96.0.10 53 >"$DIR/out"
	[ "$(names <"$DIR/out")" = "b1 b2 " ]
	[ "$(cut -d' ' -f2,3 "$DIR/out" | sort -u)" = "10.96.0.10:53 10.96.0.10:53" ]
}

@test "a socket that is not connected keeps a backend for each service, and is told who answered" {
	services "one|\"10.96.0.10:53/udp\"|$B1, $B2" "two|\"10.96.0.11:53/udp\"|$B3"
	for _ in $(seq 10); do
		client talk 6 10.96.0.10 53 10.96.0.11 53 >"$DIR/out"
		[ "$(grep -c ' 10.96.0.11:53$' "$DIR/out")" = 6 ]
		[ "$(grep ' 10.96.0.10:53$' "$DIR/out" | sort | uniq -c | wc -l)" = 1 ]
		grep ' 10.96.0.10' "$DIR/out" | head -n 1
	done >"$DIR/each"
	[ "$(names <"$DIR/each")" = "b1 b2 " ]
}

@test "curl gets a page of nginx through a service" {
	mkdir -p "$DIR/www"
	echo page >"$DIR/www/index.html"
	cat >"$DIR/nginx.conf" <<-C
		pid $DIR/nginx.pid; error_log $DIR/error.log; worker_processes 1;
		events { worker_connections 64; }
		http {
			access_log off; client_body_temp_path $DIR/b; proxy_temp_path $DIR/p;
			fastcgi_temp_path $DIR/f; uwsgi_temp_path $DIR/u; scgi_temp_path $DIR/s;
			server { listen 10.88.0.1:8081; root $DIR/www; }
		}
	C
	ip netns exec $NS nginx -c "$DIR/nginx.conf" -e "$DIR/error.log" 3>&-
	cp "$DIR/nginx.pid" "$DIR/server-nginx"
	services "page|\"10.96.0.20:80/tcp\"|{address: 10.88.0.1, port: 8081}"
	run inside curl -s -m 5 -w '%{remote_ip}' http://10.96.0.20/
	[ "$output" = "page"$'\n'"10.96.0.20" ]
	kill "$(cat "$DIR/nginx.pid")"
}

@test "processes outside of the cgroup and other addresses are left alone" {
	web "$B1"
	[ "$(client tcp 10.88.0.2 8080)" = "b2 10.88.0.2:8080" ]
	[ "$(client talk 1 10.88.0.2 8080)" = "b2 10.88.0.2:8080" ]
	run outside tcp 10.96.0.10 80
	[[ "$output" != b1* ]]
	run client tcp 10.96.0.10 81
	[[ "$output" != b1* ]]
}

@test "a service without backends refuses at once" {
	web ""
	[ "$(client tcp 10.96.0.10 80 || true)" = ECONNREFUSED ]
	[ "$(client udp 10.96.0.10 53 || true)" = ECONNREFUSED ]
	[ "$(client talk 1 10.96.0.10 53 || true)" = ECONNREFUSED ]
}

@test "a client with affinity stays with its backend" {
	web "$B1, $B2, $B3" "affinitySeconds: 60"
	first=$(client tcp 10.96.0.10 80 | names)
	[ "$(times 20 client tcp 10.96.0.10 80 | names)" = "$first" ]
	case $first in b1*) web "$B2, $B3" "affinitySeconds: 60" ;; *) web "$B1" "affinitySeconds: 60" ;; esac
	[ "$(times 5 client tcp 10.96.0.10 80 | names)" != "$first" ]
	[ "$(times 5 client tcp 10.96.0.10 80 | names | wc -w)" = 1 ]
}

@test "with the policy Local only backends of this node are used, and none refuses" {
	web "{address: 10.88.0.1, port: 8080, node: $(uname -n)}, $B2, $B3" "internalTrafficPolicy: Local"
	[ "$(times 12 client tcp 10.96.0.10 80 | names)" = "b1 " ]
	web "{address: 10.88.0.1, port: 8080, node: elsewhere}, $B2, $B3" "internalTrafficPolicy: Local"
	[ "$(client tcp 10.96.0.10 80 || true)" = ECONNREFUSED ]
}

@test "weights are kept, and a backend of weight 0 gets nothing" {
	web "{address: 10.88.0.1, port: 8080, weight: 9}, {address: 10.88.0.2, port: 8080}, {address: 10.88.0.3, port: 8080, weight: 0}"
	times 200 client tcp 10.96.0.10 80 | cut -d' ' -f1 | sort | uniq -c >"$DIR/out"
	[ "$(awk '$2 == "b1" { print ($1 > 150 && $1 < 200) }' "$DIR/out")" = 1 ]
	[ "$(wc -l <"$DIR/out")" = 2 ]
}

@test "no connect fails while backends come and go, the agent is killed and comes back" {
	web "$B1, $B2"
	client storm 8 10.96.0.10 80 >"$DIR/storm" 3>&- &
	storm=$!
	for _ in 1 2 3 4; do web "$B2, $B3"; web "$B1, $B3"; done
	kill -9 "$(cat "$DIR/pid")"
	[ "$(client tcp 10.96.0.10 80 | cut -d' ' -f2)" = 10.96.0.10:80 ]
	up
	web "$B1, $B2, $B3"
	wait $storm
	[ "$(cat "$DIR/storm")" = "good many failed 0" ]
	[ "$(times 30 client tcp 10.96.0.10 80 | names)" = "b1 b2 b3 " ]
}

@test "connects are counted by backend, and open sockets" {
	web "$B1"
	before=$("$SKEP" balance get --json | jq '.services[0].backends[0].connects')
	times 5 client tcp 10.96.0.10 80
	client hold tcp 10.96.0.10 80 >"$DIR/hold" 3>&- &
	echo $! >"$DIR/client-hold"
	eventually 5 test -s "$DIR/hold"
	"$SKEP" balance get --json >"$DIR/json"
	[ "$(jq '.services[0].backends[0].connects' "$DIR/json")" = $((before + 6)) ]
	[ "$(jq '.services[0].backends[0].sockets' "$DIR/json")" = 1 ]
	"$SKEP" balance describe web | grep -qE "^at sockets: [0-9]+ connects, [1-9][0-9]* open, " # backends that leave count too
	kill "$(cat "$DIR/client-hold")" || true
	curl -s --unix-socket "$SKEP_SOCKET" http://localhost/metrics >"$DIR/metrics"
	grep -q '^skep_balance_socket_connects_total{service="web",backend="10.88.0.1"}' "$DIR/metrics"
}

# held VERB: a client that waits; its line is in $DIR/hold
held() {
	rm -f "$DIR/hold"
	client hold "$@" >"$DIR/hold" 3>&- &
	echo $! >"$DIR/client-hold"
	eventually 5 test -s "$DIR/hold"
}
hold_ended() { [ "$(tail -n 1 "$DIR/hold")" = "$1" ]; }

@test "when a backend goes, sockets that are connected to it are told, others are left alone" {
	"$SKEP" status --json | jq -e '.. | objects | select(.what? == "ending sockets whose backend is gone") | .ready' ||
		skip "this kernel cannot end sockets"
	web "$B1" "drainSeconds: 0"
	held tcp 10.96.0.10 80
	client hold tcp 10.88.0.1 8080 >"$DIR/direct" 3>&- &
	echo $! >"$DIR/client-direct"
	sleep 2
	[ "$(wc -l <"$DIR/hold")" = 1 ]
	web "$B2" "drainSeconds: 0"
	eventually 10 hold_ended ECONNABORTED
	held udp 10.96.0.10 53
	web "$B3" "drainSeconds: 0"
	eventually 10 hold_ended ECONNABORTED
	held tcp 10.96.0.10 80
	web "$B3, $B1" "drainSeconds: 0"
	web "$B3" "drainSeconds: 0"
	sleep 4
	[ "$(wc -l <"$DIR/hold") $(wc -l <"$DIR/direct")" = "1 1" ]
	kill "$(cat "$DIR/client-hold")" "$(cat "$DIR/client-direct")" || true
	curl -s --unix-socket "$SKEP_SOCKET" http://localhost/metrics >"$DIR/metrics"
	[ "$(awk '/^skep_balance_socket_destroyed_total/ { print ($2 >= 2) }' "$DIR/metrics")" = 1 ]
	[ "$(awk '/^skep_balance_socket_undestroyed_total/ { print $2 }' "$DIR/metrics")" = 0 ]
}

@test "a socket that is not connected goes on with another backend when its own is gone" {
	web "$B1" "drainSeconds: 0"
	client chat 10.96.0.10 53 >"$DIR/chat" 3>&- &
	chat=$!
	sleep 1
	web "$B2" "drainSeconds: 0"
	wait $chat
	[ "$(names <"$DIR/chat")" = "b1 b2 " ]
}

@test "a service for sockets must be of one family" {
	run web "$B1, $S1"
	[ "$status" -ne 0 ]
	[[ "$output" == *"one family"* ]]
}
