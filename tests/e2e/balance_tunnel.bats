#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Health probes that go the way of a service's packets: a backend whose server lives but that does not
# unpack is down, in each mode and family; each kind of probe arrives.
load common
load balance

export NS=skep-lbprobe

unpack_up() { # at tc, so that b1's neighbour b2 tells of XDP
	local hook=xdp
	[ "$1" = b1 ] || hook=tc
	ip netns exec "$NS-$1" "$SKEP" balance backend --interface eth0 --gue-port 7080 --pin-dir "" --hook $hook 2>>"$DIR/$1/log" 3>&- &
	echo $! >"$DIR/$1/unpack.pid"
	echo $! >>"$DIR/pids"
	disown $!
}

unpack_end() { # unpack_end NAME
	kill "$(cat "$DIR/$1/unpack.pid")"
}

serve() { # serve NAME: at all addresses, so that a plain probe is answered too
	in_ns "$1" python3 "$DIR/server.py" 3>&- 2>/dev/null &
	echo $! >>"$DIR/pids"
	for a in 0.0.0.0:8443 '[::]:8443'; do
		in_ns "$1" openssl s_server -accept "$a" -cert "$DIR/cert" -key "$DIR/key" -www >/dev/null 2>&1 3>&- &
		echo $! >>"$DIR/pids"
	done
}

setup_file() {
	net_up b1 b2
	openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=a -days 2 -keyout "$DIR/key" -out "$DIR/cert" 2>/dev/null
	cat >"$DIR/server.py" <<-P
		import http.server, socket, threading
		class V6(http.server.ThreadingHTTPServer):
		    address_family = socket.AF_INET6
		class H(http.server.BaseHTTPRequestHandler):
		    protocol_version = "HTTP/1.1"
		    def do_GET(self):
		        host = self.headers["Host"]
		        # what is for the service alone is well only there
		        well = self.path != "/service" or self.connection.getsockname()[0].endswith(("203.0.113.10", "2001:db8:f::10"))
		        self.send_response(200 if well else 503)
		        self.send_header("Content-Length", "0")
		        self.end_headers()
		    def log_message(self, *a): pass
		def dns():
		    s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
		    s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
		    s.bind(("::", 53))
		    while True:
		        q, anc, flags, who = s.recvmsg(512, 256)
		        info = [d for l, t, d in anc if t == socket.IPV6_PKTINFO]
		        s.sendmsg([q[:2] + b"\x81\x80" + q[4:]], [(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, info[0])], 0, who)
		threading.Thread(target=dns, daemon=True).start()
		V6(("::", 80), H).serve_forever()
	P
	serve b1
	serve b2
	balancer_up 'guePort: 7080' 'tunnelProbes: true'
}

teardown_file() { net_down; }

teardown() {
	[ -n "${BATS_TEST_COMPLETED:-}" ] || { tail -n 5 "$DIR/agent.log" "$DIR"/b?/log; "$SKEP" balance describe; } >&2
}

probed() { # probed MODE FAMILY HEALTH
	local b='[{address: 10.77.0.11}, {address: 10.77.0.12}]' vips="\"$VIP:80/tcp\", \"[$VIP6]:80/tcp\""
	[ "$2" = 4 ] || b='[{address: "fd77::11"}, {address: "fd77::12"}]'
	printf 'apiVersion: skep/v1\nkind: Service\nmetadata: {name: web}\nspec:\n  vips: [%s]\n  mode: %s\n  backends: %s\n  health: {%s, intervalSeconds: 1, timeoutSeconds: 1, rise: 1, fall: 1}\n' \
		"$vips" "$1" "$b" "$3" >"$DIR/probed.yaml"
	"$SKEP" apply -f "$DIR/probed.yaml"
}

are() { # are STATES: of both backends by their last probe
	[ "$("$SKEP" balance describe web --json | jq -r '.backends[] | select(.weight > 0 and .health.asked) | if .health.up then "up" else "down" end' | tr '\n' ' ')" = "$1 " ]
}

@test "a backend that does not unpack is down through the tunnel, though its server answers" {
	"$SKEP" status | grep -q 'probes through the tunnel .*tc of the interfaces'
	for m in ipip gue; do
		for f in 4 6; do
			probed $m $f 'type: http, path: /service, via: tunnel'
			eventually 10 are "up up"
			unpack_end b1
			eventually 10 are "down up"
			probed $m $f 'type: http, path: /'
			eventually 10 are "up up"
			unpack_up b1
			probed $m $f 'type: http, path: /service'
			eventually 10 are "down down" # what a straight probe does not reach
		done
	done
}

@test "by link address too, without an outer header" {
	probed l2 4 'type: http, path: /service, via: tunnel'
	eventually 10 are "up up"
	ip -n $NS-b2 addr del $VIP/32 dev lo
	eventually 10 are "up down"
	ip -n $NS-b2 addr add $VIP/32 dev lo
	eventually 10 are "up up"
}

@test "each kind of probe goes through the tunnel" {
	for m in ipip gue; do
		for f in 4 6; do
			probed $m $f 'type: tcp, via: tunnel'
			eventually 10 are "up up"
			probed $m $f 'type: dns, port: 53, name: a.example, via: tunnel'
			eventually 10 are "up up"
			probed $m $f 'type: https, port: 8443, host: a.example, via: tunnel'
			eventually 10 are "up up"
			unpack_end b2
			eventually 10 are "up down"
			unpack_up b2
			eventually 10 are "up up"
		done
	done
	"$SKEP" balance describe web | grep 'up by tunnel'
}

@test "probes leave no connection behind at the server" {
	probed gue 4 'type: tcp, via: tunnel'
	eventually 10 are "up up"
	sleep 3
	[ "$(in_ns b1 ss -Htn state established state close-wait src $VIP | wc -l)" -le 1 ]
	[ "$(in_ns b2 ss -Htn state established state close-wait src $VIP | wc -l)" -le 1 ]
	probed gue 4 'type: http, path: /service, via: tunnel'
	sleep 4
	[ "$(in_ns b1 ss -Htn state established state close-wait | wc -l)" -le 1 ]
}

@test "a port that is closed is told as such" {
	reasons() { [ "$("$SKEP" balance describe web --json | jq -r '.backends[] | select(.weight > 0 and .health.asked) | .health.reason' | sort -u)" = "$1" ]; }
	for m in ipip gue; do
		for f in 4 6; do
			probed $m $f 'type: tcp, port: 99, via: tunnel'
			eventually 10 reasons "Connection refused"
		done
	done
}

@test "what cannot be probed so is refused, and says what to do" {
	run probed nat 4 'type: tcp, via: tunnel'
	[[ "$output" == *"modes ipip, gue and l2"* ]]
	run probed ipip 4 'type: script, command: "true", via: tunnel'
	[[ "$output" == *"not for none or scripts"* ]]
	sed -i 's/tunnelProbes: true/tunnelProbes: false/' "$DIR/skep.yaml"
	"$SKEP" delete service/web
	agent_down
	agent_start
	run probed ipip 4 'type: tcp, via: tunnel'
	[[ "$output" == *"set balance.interfaces and balance.tunnelProbes"* ]]
}
