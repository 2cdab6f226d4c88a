#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Who may send: challenges under a flood of SYNs, limits, ranges, denied sources, node ports. Real clients
# and servers, each in a namespace; backends of mode nat and behind IP in IP.
load common
load balance

NS=skep-lbpro

setup_file() {
	net_up b1
	host b2 12
	for b in b1 b2; do
		ip netns exec "$NS-$b" socat TCP-LISTEN:8080,fork,reuseaddr SYSTEM:"echo $b" 3>&- 2>/dev/null &
		echo $! >>"$DIR/pids"
	done
	ip netns exec "$NS-b1" socat TCP-LISTEN:80,bind=$VIP,fork,reuseaddr SYSTEM:"echo b1" 3>&- 2>/dev/null &
	echo $! >>"$DIR/pids"
	printf '10.99.0.0/16 # nobody\n' >"$DIR/denied"
	balancer_up "denyFile: $DIR/denied"
	eventually 20 neighbours_known 11 12 9
	in_ns client ip route replace 203.0.113.20 via 10.77.0.1
}

teardown_file() { net_down; }

teardown() {
	[ ! -f "$DIR/flood" ] || { kill "$(cat "$DIR/flood")" 2>/dev/null || true; rm -f "$DIR/flood"; }
	[ -n "${BATS_TEST_COMPLETED:-}" ] || { tail -n 5 "$DIR/agent.log"; metric . | grep -v ' 0$'; } >&2
}

metric() { curl -s --unix-socket "$SKEP_SOCKET" http://localhost/metrics | grep "^skep_balance.*$1"; }
dropped() { metric "\"$1\"" | awk '{ n += $2 } END { print n + 0 }'; }

service() { # service NAME ADDRESS:PORT/tcp BACKEND LINE...
	printf -- '---\napiVersion: skep/v1\nkind: Service\nmetadata: {name: %s}\nspec:\n  vips: ["%s"]\n  backends: [%s]\n' "$1" "$2" "$3"
	shift 3
	[ $# -eq 0 ] || printf '  %s\n' "$@"
}

applied() { cat >"$DIR/services.yaml"; "$SKEP" apply -f "$DIR/services.yaml" >/dev/null; }
ask() { in_ns client timeout 5 socat -T 3 - "TCP:$1,connect-timeout=3" </dev/null 2>/dev/null; }

# SYNs of forged sources, as fast as may be, to the service
flood_up() {
	ip netns exec "$NS-client" python3 - "$1" <<-'P' 3>&- 2>"$DIR/flood.err" &
		import random, socket, struct, sys
		s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
		dst = socket.inet_aton(sys.argv[1])
		def fold(b):
		    n = sum(struct.unpack(">%dH" % (len(b) // 2), b))
		    while n >> 16: n = (n & 0xffff) + (n >> 16)
		    return ~n & 0xffff
		while True:
		    src = bytes([100, random.randrange(64, 127), random.randrange(256), random.randrange(256)])
		    tcp = struct.pack(">HHIIBBHHH", random.randrange(1024, 65536), 80, random.getrandbits(32), 0, 0x50, 2, 1000, 0, 0)
		    check = fold(src + dst + struct.pack(">BBH", 0, 6, 20) + tcp)
		    tcp = tcp[:16] + struct.pack(">H", check) + tcp[18:]
		    s.sendto(struct.pack(">BBHHHBBH4s4s", 0x45, 0, 40, 0, 0, 64, 6, 0, src, dst) + tcp, (sys.argv[1], 0))
	P
	echo $! >"$DIR/flood"
}

@test "a client that is not known answers the challenge and is served, in mode nat and behind IP in IP" {
	{
		service pack $VIP:80/tcp '{address: 10.77.0.11}' 'synCookies: true'
		service turn 203.0.113.20:80/tcp '{address: 10.77.0.12, port: 8080}' 'synCookies: true' 'mode: nat'
	} | applied
	[ "$(ask $VIP:80)" = b1 ]
	[ "$(ask 203.0.113.20:80)" = b2 ]
	[ "$(dropped challenged)" = 1 ] # it is known from then on, to every service
	[ "$(dropped proved)" = 1 ]
}

@test "under a flood of forged SYNs real clients connect, and nothing of it reaches the backend" {
	service turn 203.0.113.20:80/tcp '{address: 10.77.0.12, port: 8080}' 'synCookies: true' 'mode: nat' | applied
	before=$(metric 'connections_total.*turn' | awk '{ print $2 }')
	flood_up 203.0.113.20
	eventually 20 flooded 5000
	for _ in $(seq 20); do [ "$(ask 203.0.113.20:80)" = b2 ]; done
	kill "$(cat "$DIR/flood")"
	rm "$DIR/flood"
	after=$(metric 'connections_total.*turn' | awk '{ print $2 }')
	[ $((after - ${before:-0})) -le 40 ]
	[ "$(metric nat_full_total | awk '{ print $2 }')" = 0 ]
}
flooded() { [ "$(dropped challenged)" -ge "$1" ]; }

@test "with a rate only a flood is challenged" {
	service rated 203.0.113.20:80/tcp '{address: 10.77.0.12, port: 8080}' 'mode: nat' 'synCookies: true' 'synCookieRate: 1000' | applied
	before=$(dropped challenged)
	for _ in $(seq 10); do [ "$(ask 203.0.113.20:80)" = b2 ]; done
	[ "$(dropped challenged)" = "$before" ]
	flood_up 203.0.113.20
	eventually 20 flooded $((before + 1000))
	[ "$(ask 203.0.113.20:80)" = b2 ]
}

@test "a source has its limit" {
	service few 203.0.113.20:80/tcp '{address: 10.77.0.12, port: 8080}' 'mode: nat' 'limits: {source: 2}' | applied
	in_ns client bash -c 'for _ in $(seq 12); do timeout 1 bash -c "exec 3<>/dev/tcp/203.0.113.20/80" 3>&- & done; wait' 2>/dev/null || true
	[ "$(dropped source_limited)" -ge 1 ]
	sleep 2
	[ "$(ask 203.0.113.20:80)" = b2 ]
}

@test "source ranges and denied sources, whose file is read again" {
	service ranged 203.0.113.20:80/tcp '{address: 10.77.0.12, port: 8080}' 'mode: nat' 'sourceRanges: [10.77.0.8/30]' | applied
	[ "$(ask 203.0.113.20:80)" = b2 ]
	service ranged 203.0.113.20:80/tcp '{address: 10.77.0.12, port: 8080}' 'mode: nat' 'sourceRanges: [10.77.0.16/28]' | applied
	[ "$(ask 203.0.113.20:80)" = "" ]
	service ranged 203.0.113.20:80/tcp '{address: 10.77.0.12, port: 8080}' 'mode: nat' | applied
	[ "$(ask 203.0.113.20:80)" = b2 ]
	echo 10.77.0.9 >"$DIR/denied"
	eventually 10 denied
	echo 10.99.0.0/16 >"$DIR/denied"
	eventually 20 served
}
denied() { [ "$(ask 203.0.113.20:80)" = "" ] && [ "$(dropped denied)" -ge 1 ]; }
served() { [ "$(ask 203.0.113.20:80)" = b2 ]; }

@test "a node port: the service at the balancer's own addresses, over IPv4 and IPv6" {
	{
		service four 203.0.113.20:80/tcp '{address: 10.77.0.12, port: 8080}' 'mode: nat' 'nodePort: 30080'
		printf -- '---\napiVersion: skep/v1\nkind: Service\nmetadata: {name: six}\nspec:\n  mode: nat\n  nodePort: 30086\n  backends: [{address: "fd77::12", port: 8080}]\n'
		service gone 203.0.113.21:80/tcp '{address: 10.77.0.12, port: 8080, node: elsewhere.example}' 'mode: nat' 'nodePort: 30090' 'externalTrafficPolicy: Local'
	} | applied
	ip netns exec "$NS-b2" socat TCP6-LISTEN:8080,ipv6only,fork,reuseaddr SYSTEM:"echo b2six" 3>&- 2>/dev/null &
	echo $! >>"$DIR/pids"
	[ "$(ask 10.77.0.1:30080)" = b2 ]
	[ "$(ask 203.0.113.20:80)" = b2 ]
	eventually 10 six_answers
	[ "$(ask 10.77.0.1:30090)" = "" ]
	[ "$(dropped no_backend)" -ge 1 ]
	in_ns client ping -c 1 -W 2 10.77.0.1 >/dev/null # the host's own traffic goes on
}
six_answers() { [ "$(ask "[fd77::1]:30086")" = b2six ]; }

@test "a health check node port tells whether a backend of this host takes new flows" {
	service hc 203.0.113.22:80/tcp "{address: 10.77.0.12, port: 8080, node: $(uname -n)}" 'mode: nat' 'externalTrafficPolicy: Local' 'healthCheckNodePort: 31234' | applied
	eventually 5 node_says 200
	jq -e '.service.name == "hc" and .localEndpoints == 1' "$DIR/node"
	"$SKEP" balance drain hc 10.77.0.12
	eventually 5 node_says 503
	jq -e '.localEndpoints == 0' "$DIR/node"
	"$SKEP" balance drain hc 10.77.0.12 --cancel
	eventually 5 node_says 200
	in_ns balancer curl -s -m 3 -o /dev/null -w '%{http_code}' 'http://[::1]:31234/' | grep -qx 200
	# what is no request is not answered, and the next one is
	printf 'x%.0s' $(seq 5000) | in_ns client timeout 3 socat - TCP:10.77.0.1:31234 >"$DIR/none" 2>/dev/null || true
	[ ! -s "$DIR/none" ]
	node_says 200
	# nor does it wait for who never comes to an end
	run in_ns client timeout 10 bash -c 'exec 3<>/dev/tcp/10.77.0.1/31234; while printf x >&3; do sleep 0.5; done'
	[ "$status" != 124 ]
	service hc 203.0.113.22:80/tcp '{address: 10.77.0.12, port: 8080}' 'mode: nat' | applied
	eventually 5 node_says 000
}
node_says() { # node_says STATUS
	in_ns client curl -s -m 3 -o "$DIR/node" -w '%{http_code}' http://10.77.0.1:31234/healthz >"$DIR/node.code" || true
	grep -qx "$1" "$DIR/node.code"
}

@test "a health check node port that somebody else has is told in status, and tried again" {
	ip netns exec "$NS-balancer" socat TCP6-LISTEN:31234,fork,reuseaddr SYSTEM:true 3>&- 2>/dev/null &
	other=$!
	sleep 0.3
	service hc 203.0.113.22:80/tcp "{address: 10.77.0.12, port: 8080, node: $(uname -n)}" 'mode: nat' 'externalTrafficPolicy: Local' 'healthCheckNodePort: 31234' | applied
	eventually 5 taken_told
	kill $other
	eventually 5 node_says 200
	run "$SKEP" status
	[[ "$output" != *"port 31234"* ]]
}
taken_told() { "$SKEP" status | grep -q 'port 31234: Address already in use'; }

@test "externalTrafficPolicy Local of a Service of Kubernetes holds for its external addresses, not for its cluster's" {
	cat >"$DIR/kube.yaml" <<-Y
		apiVersion: v1
		kind: Service
		metadata: {name: shop, namespace: default}
		spec:
		  type: LoadBalancer
		  clusterIP: 203.0.113.40
		  externalIPs: [203.0.113.41]
		  externalTrafficPolicy: Local
		  healthCheckNodePort: 31234
		  loadBalancerSourceRanges: [198.51.100.0/24]
		  ports: [{port: 80, nodePort: 30081}]
		status: {loadBalancer: {ingress: [{ip: 203.0.113.42}]}}
		---
		apiVersion: discovery.k8s.io/v1
		kind: EndpointSlice
		metadata: {name: shop-1, labels: {kubernetes.io/service-name: shop}}
		addressType: IPv4
		ports: [{port: 8080}]
		endpoints: [{addresses: [10.77.0.12], nodeName: elsewhere}]
	Y
	in_ns client ip route add 203.0.113.40/30 via 10.77.0.1
	"$SKEP" apply -f "$DIR/kube.yaml"
	[ "$(ask 203.0.113.40:80)" = b2 ]
	[ "$(ask 203.0.113.41:80)" = "" ]
	[ "$(ask 10.77.0.1:30081)" = "" ]
	eventually 5 node_says 503
	sed -i "s/elsewhere/$(uname -n)/" "$DIR/kube.yaml"
	"$SKEP" apply -f "$DIR/kube.yaml"
	[ "$(ask 203.0.113.40:80)" = b2 ]
	[ "$(ask 203.0.113.41:80)" = b2 ]
	[ "$(ask 10.77.0.1:30081)" = b2 ]
	eventually 5 node_says 200
	jq -e '.service == {namespace: "default", name: "shop"}' "$DIR/node"
	# source ranges are for the load balancer's address alone
	[ "$(ask 203.0.113.42:80)" = "" ]
	[ "$(dropped source_denied)" -ge 1 ]
	sed -i 's,198.51.100.0/24,10.77.0.0/24,' "$DIR/kube.yaml"
	"$SKEP" apply -f "$DIR/kube.yaml"
	[ "$(ask 203.0.113.42:80)" = b2 ]
	"$SKEP" delete service/default/shop
	[ "$("$SKEP" balance get --json | jq '.services | length')" = 0 ]
}
