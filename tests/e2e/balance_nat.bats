#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Mode nat: a client, a balancer and backends that know nothing of balancing: no address of the service,
# nothing unpacked. What is lost is counted by the client.
load common
load balance

NS=skep-lbnat

backend() { # backend NAME NUMBER: real servers at the namespace's own addresses
	host "$1" "$2"
	mkdir -p "$DIR/$1/www"
	echo "$1" >"$DIR/$1/www/index.html"
	head -c 300000 /dev/urandom >"$DIR/$1/www/blob"
	cat >"$DIR/$1/nginx.conf" <<-C
		pid $DIR/$1/nginx.pid; error_log $DIR/$1/error.log; worker_processes 1;
		events { worker_connections 256; }
		http {
			access_log off; client_body_temp_path $DIR/$1/b; proxy_temp_path $DIR/$1/p;
			fastcgi_temp_path $DIR/$1/f; uwsgi_temp_path $DIR/$1/u; scgi_temp_path $DIR/$1/s;
			server { listen 8080; listen [::]:8080; root $DIR/$1/www; location /who { return 200 "\$remote_addr\n"; } }
		}
	C
	in_ns "$1" nginx -c "$DIR/$1/nginx.conf" -e "$DIR/$1/error.log" 3>&-
	ip netns exec "$NS-$1" socat TCP-LISTEN:7777,fork,reuseaddr "SYSTEM:while read l; do echo $1 \$l; done" 3>&- 2>/dev/null &
	echo $! >>"$DIR/pids"
	ip netns exec "$NS-$1" socat UDP-LISTEN:7777,fork,reuseaddr "SYSTEM:while read l; do echo $1 \$l; done" 3>&- 2>/dev/null &
	echo $! >>"$DIR/pids"
	ip netns exec "$NS-$1" dnsmasq --keep-in-foreground --no-resolv --no-hosts --port=5353 --address="/who.test/10.77.0.$2" \
		--user=root --pid-file= 3>&- 2>"$DIR/$1/dns.log" &
	echo $! >>"$DIR/pids"
}

translated() { # translated BACKEND[=WEIGHT]...: services of mode nat
	local b w
	{
		for s in "web 80/tcp 8080 4" "echo 7/tcp,7/udp 7777 4" "dns 53/udp 5353 4" "web6 80/tcp 8080 6"; do
			set -- "$@"
			printf -- '---\napiVersion: skep/v1\nkind: Service\nmetadata: {name: %s}\nspec:\n  mode: nat\n' "${s%% *}"
			[ -z "${SPEC:-}" ] || printf '  %s\n' "$SPEC"
			printf '  vips: ['
			for w in $(echo "$s" | cut -d' ' -f2 | tr , ' '); do
				case $s in *6) printf '"[%s]:%s",' $VIP6 "$w" ;; *) printf '"%s:%s",' $VIP "$w" ;; esac
			done
			printf ']\n  backends:\n'
			for b in "$@"; do
				w=${b#*=}
				[ "$w" != "$b" ] || w=1
				case $s in *6) printf '    - {address: "fd77::%s"' "${b%=*}" ;; *) printf '    - {address: 10.77.0.%s' "${b%=*}" ;; esac
				printf ', weight: %s, port: %s}\n' "$w" "$(echo "$s" | cut -d' ' -f3)"
			done
		done
	} | sed 's/,\]/]/' >"$DIR/services.yaml"
	"$SKEP" apply -f "$DIR/services.yaml" >"$DIR/applied"
}

setup_file() {
	net_up
	backend b1 11
	backend b2 12
	backend b3 13
	balancer_up
	eventually 20 neighbours_known 11 12 13 9
	in_ns balancer ping -c 1 -W 2 fd77::9 >/dev/null
	for n in 11 12 13; do in_ns balancer ping -c 1 -W 2 fd77::$n >/dev/null; done
}

teardown_file() {
	for n in b1 b2 b3; do [ ! -f "$DIR/$n/nginx.pid" ] || kill "$(cat "$DIR/$n/nginx.pid")" 2>/dev/null || true; done
	net_down
}

teardown() {
	[ -n "${BATS_TEST_COMPLETED:-}" ] || { tail -n 5 "$DIR/agent.log"; "$SKEP" balance describe; curl -s --unix-socket "$SKEP_SOCKET" http://localhost/metrics | grep balance | grep -v ' 0$'; } >&2
}

page() { in_ns client curl -s -m 3 "http://$1/${2:-}"; }
pages_of() { for _ in $(seq "$1"); do page $VIP; done | sort -u | tr '\n' ' '; }

live_up() { # live_up N: connections that stay, answers in $DIR/live.out
	mkfifo "$DIR/live.in" 2>/dev/null || true
	ip netns exec $NS-client bash "$BATS_TEST_DIRNAME/live.bash" $VIP 7 "$1" <"$DIR/live.in" >"$DIR/live.out" 2>"$DIR/live.err" 3>&- &
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

@test "pages come from backends that have neither the service's address nor its port" {
	translated 11 12 13
	eventually 20 test "$(pages_of 1)" != ""
	[ "$(pages_of 40)" = "b1 b2 b3 " ]
	[ "$(for _ in $(seq 40); do page "[$VIP6]"; done | sort -u | tr '\n' ' ')" = "b1 b2 b3 " ]
	[ "$(page $VIP who)" = 10.77.0.1 ]
	[ "$(page "[$VIP6]" who)" = fd77::1 ]
}

@test "long answers come whole, over IPv4 and IPv6" {
	translated 12
	[ "$(page $VIP blob | sha256sum)" = "$(sha256sum <"$DIR/b2/www/blob")" ]
	[ "$(page "[$VIP6]" blob | sha256sum)" = "$(sha256sum <"$DIR/b2/www/blob")" ]
}

@test "UDP goes both ways: an echo, names, and datagrams in fragments" {
	translated 11 12 13
	[[ "$(echo hello | in_ns client socat -t 2 - UDP:$VIP:7)" == b?" hello" ]]
	[[ "$(printf '\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x03who\x04test\0\0\x01\0\x01' | in_ns client socat -t 2 - UDP:$VIP:53 | tail -c 4 | od -An -tu1)" == *" 10  77   0  1"[123] ]]
	long=$(head -c 3000 /dev/zero | tr '\0' x)
	[[ "$(echo "$long" | in_ns client socat -b 8192 -t 2 - UDP:$VIP:7)" == b?" $long" ]]
}

@test "a port that nobody listens at is told to the client: refused, over TCP and UDP" {
	printf 'apiVersion: skep/v1\nkind: Service\nmetadata: {name: none}\nspec: {mode: nat, vips: ["%s:99/tcp", "%s:99/udp"], backends: [{address: 10.77.0.11, port: 9999}]}\n' $VIP $VIP >"$DIR/none.yaml"
	"$SKEP" apply -f "$DIR/none.yaml"
	run in_ns client curl -s -m 3 http://$VIP:99/
	[ "$status" = 7 ]
	run in_ns client bash -c "exec 3<>/dev/udp/$VIP/99; echo x >&3; sleep 0.3; echo y >&3; read -t 1 -u 3"
	[[ "$output" == *refused* ]]
}

@test "a backend that refuses connections is ejected when it is told to, and the others answer" {
	SPEC='health: {passivePercent: 30, intervalSeconds: 1, passiveSeconds: 60}' translated 11 12
	eventually 5 both_answer
	kill "$(cat "$DIR/b2/nginx.pid")"
	eventually 15 asked_and_ejected
	[ "$(pages_of 20)" = "b1 " ]
	"$SKEP" balance describe web --json | jq -e '.backends[1] | .state == "ejected" and .resets >= 3'
	in_ns b2 nginx -c "$DIR/b2/nginx.conf" -e "$DIR/b2/error.log" 3>&-
	translated 11 12 # without the option it comes back
	eventually 5 both_answer
	ejected_is 0
}
asked_and_ejected() { pages_of 20 >/dev/null; ejected_is 1; }
both_answer() { [ "$(pages_of 20)" = "b1 b2 " ]; }
ejected_is() { curl -s --unix-socket "$SKEP_SOCKET" http://localhost/metrics | grep -qxF "skep_balance_backend_ejected{service=\"web\",backend=\"10.77.0.12\"} $1"; }

@test "backends come, drain and go, and come again: no live connection breaks or moves" {
	translated 11 12
	live_up 40
	first=$(tail -n 1 "$DIR/live.out")
	[[ "$first" == "lost 0 "* && "$first" == *b1* && "$first" == *b2* && "$first" != *b3* ]]
	translated 11 12 13
	live_round
	[ "$round" = "$first" ]
	[[ "$(pages_of 30)" == *b3* ]]
	translated 11=0 12 13
	live_round
	[ "$round" = "$first" ]
	[[ "$(pages_of 30)" != *b1* ]]
	translated 13
	live_round
	[ "$round" = "$first" ]
	[ "$(pages_of 20)" = "b3 " ]
	translated 11 12 13
	live_round
	[ "$round" = "$first" ]
	live_down
}

@test "an agent that is killed leaves its translation at work; the next one takes it over" {
	translated 11 12 13
	live_up 30
	first=$(tail -n 1 "$DIR/live.out")
	translated 11 12
	kill -9 "$(cat "$DIR/pid")"
	live_round
	[ "$round" = "$first" ]
	[[ "$(pages_of 1)" == b* ]]
	agent_start
	live_round
	[ "$round" = "$first" ]
	translated 12 13
	live_round
	[ "$round" = "$first" ]
	[ "$(pages_of 30)" = "b2 b3 " ]
	live_down
}

@test "the balancer's own connections to backends are not taken for answers" {
	translated 11 12 13
	page $VIP >/dev/null
	for _ in $(seq 10); do in_ns balancer curl -s -m 3 http://10.77.0.11:8080/; done | sort | uniq -c | grep -q '10 b1'
}

@test "metrics count both directions" {
	translated 11
	for _ in $(seq 5); do page $VIP; done
	curl -s --unix-socket "$SKEP_SOCKET" http://localhost/metrics >"$DIR/metrics"
	[ "$(awk '/^skep_balance_returned_total.*"web".*10.77.0.11/ { print ($2 >= 15) }' "$DIR/metrics")" = 1 ]
	[ "$(awk '/^skep_balance_translated_total/ { print ($2 >= 5) }' "$DIR/metrics")" = 1 ]
	[ "$(awk '/^skep_balance_nat_full_total/ { print $2 }' "$DIR/metrics")" = 0 ]
}

@test "a backend whose mode changed stands twice, as it is and as it was, and watch tells each once" {
	translated 11
	sed -i 's/mode: nat/mode: ipip/; s/, port: [0-9]*//' "$DIR/services.yaml"
	"$SKEP" apply -f "$DIR/services.yaml"
	[ "$("$SKEP" balance get --json | jq -r '[.services[] | select(.name == "web").backends[] | select(.address == "10.77.0.11") | .mode + (.was // "")] | sort | join(" ")')" = "ipip natnat" ]
	timeout 4 "$SKEP" balance watch web >"$DIR/watch" || true
	[ "$(grep -c ' 10.77.0.11 live' "$DIR/watch")" = 1 ]
	grep -q " 10.77.0.11 (was nat) draining" "$DIR/watch"
}
