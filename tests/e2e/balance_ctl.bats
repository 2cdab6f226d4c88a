#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# What an operator does to services while clients use them: apply, merge, delete, drain, watch, and
# backends that die. A client, a balancer and three backends on one switch, each in a namespace.
load common

VIP=203.0.113.20

host() { # host NAME NUMBER: a namespace on the switch, with 10.78.0.NUMBER
	local ns=skep-ctl-$1
	ip netns add "$ns"
	ip -n "$ns" link set lo up
	ip link add eth0 netns "$ns" type veth peer name "$1" netns skep-ctl-switch
	ip netns exec skep-ctl-switch ethtool -K "$1" gro on tx off >/dev/null 2>&1
	ip netns exec "$ns" ethtool -K eth0 gro on tx off tso off gso off >/dev/null 2>&1
	ip -n skep-ctl-switch link set "$1" master switch up
	ip -n "$ns" addr add "10.78.0.$2/24" dev eth0
	ip -n "$ns" link set eth0 up
}

in_ns() { ip netns exec "skep-ctl-$1" "${@:2}"; }

serve() { # serve NAME: echoes lines with its name on port 7, of the VIP and of itself
	ip netns exec "skep-ctl-$1" socat TCP-LISTEN:7,fork,reuseaddr "SYSTEM:while read l; do echo $1 \$l; done" 3>&- 2>/dev/null &
	echo $! >"$DIR/$1.pid"
}

kill_server() { # its listener and all its connections
	ip netns pids "skep-ctl-$1" | while read -r p; do
		[ "$(cat "/proc/$p/comm")" != socat ] || kill -9 "$p" 2>/dev/null
	done
}

backend() {
	host "$1" "$2"
	ip -n "skep-ctl-$1" addr add $VIP/32 dev lo
	serve "$1"
	ip netns exec "skep-ctl-$1" "$SKEP" balance backend --interface eth0 2>"$DIR/$1.log" 3>&- &
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
	ip netns exec skep-ctl-balancer "$SKEP" up --config "$DIR/skep.yaml" --state-dir "$DIR/state" --socket "$SKEP_SOCKET" 2>>"$DIR/agent.log" 3>&- &
	echo $! >"$DIR/pid"
	eventually 60 answers
}

answers() { "$SKEP" balance get >/dev/null 2>&1; }

setup_file() {
	need_root
	export DIR=$(mktemp -d /tmp/skep-test.XXXXXX)
	export SKEP_SOCKET=$DIR/skep.sock
	export NETNS="skep-ctl-switch skep-ctl-client skep-ctl-balancer skep-ctl-b1 skep-ctl-b2 skep-ctl-b3"
	chmod 755 "$DIR"
	mkdir "$DIR/bpf"
	mount -t bpf bpf "$DIR/bpf"
	ip netns add skep-ctl-switch
	ip -n skep-ctl-switch link add switch type bridge
	ip -n skep-ctl-switch link set switch up
	host balancer 1
	in_ns balancer sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward'
	ip netns exec skep-ctl-switch "$SKEP" balance backend --interface balancer 2>/dev/null 3>&- &
	echo $! >>"$DIR/pids"
	host client 9
	ip -n skep-ctl-client route add 203.0.113.0/24 via 10.78.0.1 mtu 1400
	backend b1 11
	backend b2 12
	backend b3 13
	balancer_up
}

teardown_file() {
	for b in b1 b2 b3; do kill_server $b 2>/dev/null || true; done
	for p in $(cat "$DIR/pids" 2>/dev/null); do kill "$p" 2>/dev/null || true; done
	agent_down
	umount "$DIR/bpf" || true
	clean
}

teardown() {
	exec 8>&- || true
	[ -n "${BATS_TEST_COMPLETED:-}" ] || { tail -n 5 "$DIR/agent.log"; "$SKEP" balance describe; } >&2
}

service() { # service NAME VIP MORE-YAML BACKEND...
	printf -- '---\napiVersion: skep/v1\nkind: Service\nmetadata: {name: %s}\nspec:\n  vips: ["%s"]\n%s  backends:\n' "$1" "$2" "$3"
	shift 3
	for b in "$@"; do printf '    - {address: 10.78.0.%s}\n' "$b"; done
}

ask() { echo hi | in_ns client timeout 2 socat -t 1 - TCP:$VIP:7,connect-timeout=1 2>/dev/null; }
asked() { for _ in $(seq "$1"); do ask; done | sort -u | tr -d '\n'; } # who answers
asked_is() { [ "$(asked 15)" = "$1" ]; }
state_is() { [ "$("$SKEP" balance describe "$1" --json | jq -r ".backends[] | select(.address == \"10.78.0.$2\").state")" = "$3" ]; }

@test "files, folders and the standard input are one wanted state" {
	mkdir -p "$DIR/d"
	service a 203.0.113.21:80/tcp "" 11 >"$DIR/d/a.yaml"
	service b 203.0.113.22:80/tcp "" 11 >"$DIR/d/b.yml"
	echo nothing >"$DIR/d/README"
	service c 203.0.113.23:80/tcp "" 11 >"$DIR/c.yaml"
	run "$SKEP" apply -f "$DIR/d" -f "$DIR/c.yaml" -f - --dry-run < <(service d 203.0.113.24:80/tcp "" 12)
	[ "$status" = 0 ]
	[ "$output" = $'added a\nadded b\nadded c\nadded d' ]
	"$SKEP" apply -f "$DIR/d" -f "$DIR/c.yaml" >/dev/null
	[ "$("$SKEP" balance get --json | jq -r '[.services[].name] | join(" ")')" = "a b c" ]
}

@test "a mistake is told with the file it stands in" {
	service x 203.0.113.29:80/tcp $'  hash: flaw\n' 11 >"$DIR/x.yaml"
	run "$SKEP" apply -f "$DIR/d" -f "$DIR/x.yaml"
	[ "$status" = 1 ]
	[[ "$output" == *"x.yaml:7:9: spec.hash: expected flow or source"* ]]
	run "$SKEP" apply -f "$DIR/nowhere.yaml"
	[ "$status" = 1 ]
}

@test "a dry run shows what would differ, line by line" {
	service a 203.0.113.21:81/tcp $'  hash: source\n' 12 13 >"$DIR/a2.yaml"
	run "$SKEP" apply --merge -f "$DIR/a2.yaml" --dry-run
	[ "$output" = "changed a
  - vip 203.0.113.21:80/tcp
  + vip 203.0.113.21:81/tcp
  ~ hash: flow -> source
  - backend 10.78.0.11 weight 1 ipip
  + backend 10.78.0.12 weight 1 ipip
  + backend 10.78.0.13 weight 1 ipip
  note: live connections without an entry may go to another backend" ]
	run "$SKEP" apply -f "$DIR/d" -f "$DIR/c.yaml"
	[ "$output" = "no changes" ]
}

@test "merge adds and replaces, delete removes by name and by file, and a restart forgets neither" {
	service d 203.0.113.24:80/tcp "" 12 | "$SKEP" apply --merge -f -
	"$SKEP" apply --merge -f "$DIR/a2.yaml"
	"$SKEP" delete service/b
	run "$SKEP" delete service/b
	[ "$status" = 1 ]
	[[ "$output" == *"no service 'b'"* ]]
	"$SKEP" delete -f "$DIR/c.yaml"
	run "$SKEP" apply --merge -f - < <(service e 203.0.113.24:80/tcp "" 12)
	[ "$status" = 1 ]
	[[ "$output" == *"is of service 'd' and of service 'e'"* ]]
	agent_down
	balancer_up
	[ "$("$SKEP" balance get --json | jq -r '[.services[].name] | sort | join(" ")')" = "a d" ]
	[ "$("$SKEP" balance describe a --json | jq -r .hash)" = source ]
}

@test "a drain outlasts applies and the agent, counts what is left, and can be taken back" {
	service web $VIP:7/tcp "" 11 12 | "$SKEP" apply -f -
	eventually 20 asked_is "b1 hib2 hi"
	mkfifo "$DIR/in" || true
	in_ns client socat - TCP:$VIP:7 <"$DIR/in" >"$DIR/out1" 3>&- 8>&- &
	exec 8>"$DIR/in"
	echo one >&8
	eventually 20 test -s "$DIR/out1"
	who=$(cut -c2 "$DIR/out1" | head -n 1)
	"$SKEP" balance drain web 10.78.0.1$who
	other=b$((3 - who))
	[ "$(asked 15)" = "$other hi" ]
	echo two >&8
	eventually 20 grep -q "b$who two" "$DIR/out1"
	timeout 10 "$SKEP" balance watch web --seconds 4 >"$DIR/watch"
	grep -q "web 10.78.0.1$who draining, 1 connections left" "$DIR/watch"
	service web $VIP:7/tcp "" 11 12 13 | "$SKEP" apply -f -
	[[ "$(asked 20)" != *"b$who"* ]]
	agent_down
	balancer_up
	state_is web 1$who draining
	echo three >&8
	eventually 20 grep -q "b$who three" "$DIR/out1"
	"$SKEP" balance drain web 10.78.0.1$who --cancel
	eventually 5 asked_is "b1 hib2 hib3 hi"
	exec 8>&-
}

@test "a drain with a time-out lets go of what is left" {
	service web $VIP:7/tcp "" 11 12 | "$SKEP" apply -f -
	"$SKEP" balance drain web 10.78.0.11 --timeout 2
	eventually 6 state_is web 11 gone
	[ "$(asked 10)" = "b2 hi" ]
	"$SKEP" balance drain web 10.78.0.11 --cancel
	state_is web 11 live
	run "$SKEP" balance drain web 10.78.0.99
	[ "$status" = 1 ]
}

HEALTH=$'  health: {type: tcp, intervalSeconds: 1, timeoutSeconds: 1, rise: 2, fall: 2}\n'
health_is() { [ "$("$SKEP" balance describe "$1" --json | jq -r ".backends[] | select(.address == \"10.78.0.$2\").health.up")" = "$3" ]; }

@test "a backend that dies gets no new connections within fall times interval, and comes back" {
	service web $VIP:7/tcp "$HEALTH" 11 12 13 | "$SKEP" apply -f -
	eventually 20 asked_is "b1 hib2 hib3 hi"
	"$SKEP" events -f --kind balance.backend --json >"$DIR/events" 3>&- &
	follower=$!
	mkfifo "$DIR/in2" || true
	in_ns client bash "$BATS_TEST_DIRNAME/live.bash" $VIP 7 20 <"$DIR/in2" >"$DIR/live.out" 2>"$DIR/live.err" 3>&- &
	exec 8>"$DIR/in2"
	eventually 20 test -s "$DIR/live.out"
	first=$(tail -n 1 "$DIR/live.out")
	kill_server b2
	begun=$(date +%s%N)
	eventually 12 state_is web 12 down
	took=$((($(date +%s%N) - begun) / 1000000))
	echo "# down after $took ms" >&3
	[ "$took" -lt 6000 ]
	[ "$(asked 20)" = "b1 hib3 hi" ]
	echo >&8
	eventually 60 eval '[ "$(wc -l <"$DIR/live.out")" -ge 2 ]'
	round=$(tail -n 1 "$DIR/live.out")
	for b in b1 b3; do # those of the living are where they were
		[ "$(grep -o "$b" <<<"$first" | wc -l)" = "$(grep -o "$b" <<<"$round" | wc -l)" ]
	done
	serve b2
	eventually 8 state_is web 12 live
	eventually 10 asked_is "b1 hib2 hib3 hi"
	exec 8>&-
	eventually 5 eval '[ "$(jq -r .state "$DIR/events" | tr "\n" " ")" = "down up " ]'
	kill "$follower" || true
	"$SKEP" events --kind balance.backend | grep -q 'web .*10.78.0.12 down'
}

@test "a backend that does not answer clients' SYNs is ejected, without a probe, and tried again" {
	service web $VIP:7/tcp $'  health: {passivePercent: 30, intervalSeconds: 1, passiveSeconds: 6}\n' 11 12 | "$SKEP" apply -f -
	eventually 10 asked_is "b1 hib2 hi"
	in_ns b2 ip addr del $VIP/32 dev lo
	in_ns client bash -c 'for _ in $(seq 60); do timeout 4 bash -c "exec 3<>/dev/tcp/'$VIP'/7" 3>&- & done; wait' 2>/dev/null || true
	eventually 3 state_is web 12 ejected
	"$SKEP" balance describe web --json | jq -e '.backends[1] | .ejectedSeconds > 0 and .synRetransmits > 0'
	"$SKEP" balance describe web | grep -q 'ejected .*SYNs not answered: tried again in'
	"$SKEP" events --kind balance.backend | grep -q 'web .*10.78.0.12 down: [0-9]* of [0-9]* SYNs were not answered'
	[ "$(asked 20)" = "b1 hi" ]
	in_ns b2 ip addr add $VIP/32 dev lo
	eventually 10 state_is web 12 live
	eventually 10 asked_is "b1 hib2 hi"
}

@test "HTTP, DNS and scripts tell health, and nothing that is up is left alone with panic off" {
	mkdir -p "$DIR/www"; : >"$DIR/www/a.yaml"
	ip netns exec skep-ctl-b1 python3 -m http.server 8080 --bind 10.78.0.11 --directory "$DIR/www" >/dev/null 2>&1 3>&- &
	echo $! >>"$DIR/pids"
	openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=a -days 2 -keyout "$DIR/key" -out "$DIR/cert" 2>/dev/null
	ip netns exec skep-ctl-b1 openssl s_server -accept 8443 -cert "$DIR/cert" -key "$DIR/key" -www >/dev/null 2>&1 3>&- &
	echo $! >>"$DIR/pids"
	{
		service https $VIP:86/tcp $'  health: {type: https, port: 8443, host: a.example, intervalSeconds: 1, rise: 1, fall: 1}\n' 11 12
		service http $VIP:81/tcp $'  health: {type: http, port: 8080, path: /a.yaml, intervalSeconds: 1, rise: 1, fall: 1, panicPercent: 0}\n' 11 12
		service status $VIP:82/tcp $'  health: {type: http, port: 8080, path: /none, intervalSeconds: 1, rise: 1, fall: 1}\n' 11
		service script $VIP:83/tcp $'  health: {type: script, command: "test $BACKEND:$PORT:$SERVICE:$(id -u):$(id -G) = 10.78.0.11:83:script:65534:65534", intervalSeconds: 1, rise: 1, fall: 1}\n' 11 12
		service slow $VIP:84/tcp $'  health: {type: script, command: "sleep 7711", intervalSeconds: 1, rise: 1, fall: 1}\n' 11
		service dns $VIP:53/udp $'  health: {type: dns, name: a.example, intervalSeconds: 1, rise: 1, fall: 1}\n' 11
	} | "$SKEP" apply -f -
	for d in "http 12" "status 11" "script 12" "slow 11" "dns 11"; do eventually 6 health_is $d false; done
	eventually 10 health_is http 11 true
	eventually 10 health_is https 11 true
	health_is https 12 false
	eventually 5 health_is script 11 true
	"$SKEP" balance describe status --json | jq -r '.backends[0].health.reason' | grep -q 'status 404'
	"$SKEP" balance describe slow --json | jq -r '.backends[0].health.reason' | grep -q 'no answer in time'
	curl -s --unix-socket "$SKEP_SOCKET" http://localhost/metrics >"$DIR/metrics"
	grep -qF 'skep_balance_backend_up{service="http",backend="10.78.0.12"} 0' "$DIR/metrics"
	grep -qF 'skep_balance_backend_up{service="http",backend="10.78.0.11"} 1' "$DIR/metrics"
	[ "$(sed -n 's/^skep_balance_probe_failures_total{service="http",backend="10.78.0.12"} //p' "$DIR/metrics")" -ge 1 ]
	"$SKEP" balance get | grep -q '^http .* 1 down '
	"$SKEP" balance describe status | grep -q ' down: .*status 404'
	service none $VIP:85/tcp "" 11 | "$SKEP" apply -f -
	eventually 3 eval '! pgrep -f "^sleep 7711" >/dev/null'
}

@test "services of Kubernetes are applied as kubectl prints them, and deleted by their name" {
	service web $VIP:7/tcp "" 11 | "$SKEP" apply -f - -f "$BATS_TEST_DIRNAME/../unit/balance/kube/list.json"
	[ "$("$SKEP" balance get --json | jq -r '[.services[].name] | sort | join(" ")')" = "kube-system/dns:dns kube-system/dns:dns-tcp web" ]
	"$SKEP" delete service/kube-system/dns
	[ "$("$SKEP" balance get --json | jq -r '.services[].name')" = web ]
}

@test "ten thousand services are one apply" {
	for i in $(seq 0 9999); do
		printf -- '---\napiVersion: skep/v1\nkind: Service\nmetadata: {name: s%s}\nspec:\n  vips: ["198.18.%s.%s:80/tcp"]\n  backends: [{address: 10.78.0.11}, {address: 10.78.0.12}]\n' $i $((i / 256)) $((i % 256))
	done >"$DIR/many.yaml"
	run "$SKEP" apply -f "$DIR/many.yaml"
	[ "$status" = 1 ]
	[[ "$output" == *"no room: the agent's balance.services"* ]]
	"$SKEP" balance get | grep -q '^web'
}

@test "when the prober is killed the agent says so, and rests" {
	ticks() { awk '{ print $14 + $15 }' "/proc/$(cat "$DIR/pid")/stat"; }
	kill -9 "$(pgrep -P "$(cat "$DIR/pid")" -x skep-prober)"
	eventually 3 eval '"$SKEP" status | grep -q "health probes"'
	before=$(ticks)
	sleep 2
	[ "$(($(ticks) - before))" -lt 40 ]
	service web $VIP:7/tcp "  health: {type: tcp}"$'\n' 11 | "$SKEP" apply -f -
}
