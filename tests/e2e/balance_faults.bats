#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Things break while clients are served: nginx behind `skep balance backend`, connections that are kept
# and short ones. What is lost is counted by the clients; a backend that lives loses none.
load common
load balance

LOAD=$BATS_TEST_DIRNAME/../../build/e2e/balance/load

web_up() { # web_up NAME
	mkdir -p "$DIR/$1/www"
	echo "$1" >"$DIR/$1/www/index.html"
	cat >"$DIR/$1/nginx.conf" <<-C
		pid $DIR/$1/nginx.pid; error_log $DIR/$1/error.log; worker_processes 1;
		events { worker_connections 2048; }
		http {
			access_log off; keepalive_timeout 600s; keepalive_requests 1000000;
			client_body_temp_path $DIR/$1/b; proxy_temp_path $DIR/$1/p;
			fastcgi_temp_path $DIR/$1/f; uwsgi_temp_path $DIR/$1/u; scgi_temp_path $DIR/$1/s;
			server { listen 80 backlog=4096; root $DIR/$1/www; }
		}
	C
	in_ns "$1" nginx -c "$DIR/$1/nginx.conf" -e "$DIR/$1/error.log" 3>&-
}

setup_file() {
	export NS=skep-lbfault
	net_up b1 b2 b3
	[ -x "$LOAD" ] || make -s -C "$BATS_TEST_DIRNAME/../.." build/e2e/balance/load
	web_up b1
	web_up b2
	web_up b3
	in_ns client sysctl -qw net.ipv4.ip_local_port_range="10000 60000" net.ipv4.tcp_tw_reuse=1
	balancer_up "flows: 4096"
	services 11 12 13
	neighbours_known 11 12 13
}

teardown_file() { net_down; }

teardown() {
	[ ! -f "$DIR/load.pid" ] || kill "$(cat "$DIR/load.pid")" 2>/dev/null || true
	[ -n "${BATS_TEST_COMPLETED:-}" ] || { cat "$DIR"/load.out*; tail -n 5 "$DIR/agent.log"; "$SKEP" balance describe; curl -s --unix-socket "$SKEP_SOCKET" http://localhost/metrics | grep -E "^skep_balance_(full|entries)"; } >&2
}

load_up() { # load_up SECONDS [hop|CPU]
	in_ns client "$LOAD" live $VIP 80 60 "$@" >"$DIR/load.out" 2>"$DIR/load.out.err" 3>&- &
	echo $! >"$DIR/load.pid"
	eventually 20 grep -q begun "$DIR/load.out"
}

load_end() { # nothing was lost, something was done
	local rc=0
	wait "$(cat "$DIR/load.pid")" || rc=$?
	rm -f "$DIR/load.pid"
	[ "$rc" = 0 ]
	grep -qE '^live 60 lost 0 moved 0 rounds [1-9][0-9]* short [1-9][0-9]* failed 0 of' "$DIR/load.out"
}

metric() { curl -s --unix-socket "$SKEP_SOCKET" http://localhost/metrics | awk -v n="$1" '$1 == n { print $2 }'; }

@test "kill -9 of the agent under load, with the ring half changed: nothing is lost" {
	services 11 12 13
	load_up 5
	services 11 12
	kill -9 "$(cat "$DIR/pid")"
	sleep 1
	agent_start
	services 12 13
	load_end
}

survives() { # survives MODE
	SPEC="mode: $1" services 11 12 13
	load_up 4
	SPEC="mode: $1" services 11 12
	kill -9 "$(cat "$DIR/pid")"
	agent_start
	SPEC="mode: $1" services 12 13
	load_end
}

@test "mode gue: kill -9 and changes under load, nothing is lost" { survives gue; }

@test "mode l2: kill -9 and changes under load, nothing is lost" { survives l2; }

@test "mode option: kill -9 and changes under load, nothing is lost" { FOUR=1 survives option; }

@test "mode nat: kill -9 and changes under load, nothing is lost" { FOUR=1 survives nat; }

@test "another binary takes over under load: nothing is lost" {
	services 11 12 13
	cp "$SKEP" "$DIR/skep-new"
	load_up 5
	services 11 13
	kill "$(cat "$DIR/pid")"
	SKEP=$DIR/skep-new agent_start
	services 11 12 13
	load_end
}

@test "a backend dies: its connections end, no other's do, and new ones go elsewhere" {
	services 11 12 13
	load_up 6
	kill -9 "$(cat "$DIR/b3/nginx.pid")" $(ip netns pids $NS-b3 | xargs)
	SPEC='drainSeconds: 0' services 11 12
	sleep 1
	in_ns client "$LOAD" live $VIP 80 20 1 >"$DIR/load.out2"
	wait "$(cat "$DIR/load.pid")" || true
	rm -f "$DIR/load.pid"
	unpack_up b3
	web_up b3
	grep -qE ' b1=0/[1-9]' "$DIR/load.out"
	grep -qE ' b2=0/[1-9]' "$DIR/load.out"
	grep -q '^live 20 lost 0 moved 0 .* failed 0 of' "$DIR/load.out2"
	refute grep -q b3= "$DIR/load.out2"
}

@test "backends flap under load: nothing is lost" {
	services 11 12 13
	load_up 5
	for _ in 1 2 3 4 5; do
		services 11 12
		services 11 12=5 13
		services 12 13
		services 11=0 12 13
		services 11 12 13
	done
	load_end
}

@test "connections whose packets come over another CPU each time: nothing is lost or moved" {
	[ "$(nproc)" -ge 2 ] || skip "one CPU"
	services 11 12 13
	load_up 5 hop
	services 11 12
	sleep 1
	services 11 12 13
	load_end
}

@test "a flood of SYNs fills the flow table, entries needed for most connections: nothing is lost" {
	SPEC='drainSeconds: 0' services 11 # from here two of three slots need entries
	SPEC='drainSeconds: 0' services 11 12 13
	load_up 6
	in_ns client "$LOAD" flood $VIP 80 80000 3 >"$DIR/load.out2"
	SPEC='drainSeconds: 0' services 11 12 13=2
	load_end
	[ "$(metric skep_balance_full_total)" -gt 0 ]
	[ "$(sed 's/sent //' "$DIR/load.out2")" -gt 8192 ]
}
