#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
load common

setup_file() {
	need_root
	export NS=skep-e2e-net
	ip netns add $NS
	ip -n $NS link set lo up
	export NETNS=$NS
	export D2=$(mktemp -d /tmp/skep-web.XXXXXX)
	chmod 755 "$D2"
	head -c 5000 /dev/zero | tr '\0' y >"$D2/index.html"
	cat >"$D2/nginx.conf" <<-C
		pid $D2/nginx.pid; error_log $D2/error.log; worker_processes 1;
		events { worker_connections 256; }
		http {
			log_format b '\$remote_port \$bytes_sent \$request_length \$pid'; access_log $D2/access.log b;
			client_body_temp_path $D2/b; proxy_temp_path $D2/p; fastcgi_temp_path $D2/f; uwsgi_temp_path $D2/u; scgi_temp_path $D2/s;
			server { listen 127.0.0.1:8080; listen [::1]:8080; root $D2; keepalive_timeout 60; }
		}
	C
	in_ns nginx -c "$D2/nginx.conf" -e "$D2/error.log"
	ip netns exec $NS bash -c 'exec 5<>/dev/tcp/127.0.0.1/8080; exec sleep 3600' 3>&- &
	export OLD=$!
	sleep 0.3
	agent_up '  trace: {udpIdleSeconds: 2}'
}
teardown_file() {
	kill "$OLD" 2>/dev/null || true
	[ ! -f "$D2/nginx.pid" ] || kill "$(cat "$D2/nginx.pid")"
	sleep 0.2
	rm -rf "$D2"
	clean
}

in_ns() { ip netns exec "$NS" "$@"; }

@test "both ends of a TCP connection are rows with both processes and the bytes that nginx logged" {
	in_ns curl -s -o /dev/null --local-port 40001 http://127.0.0.1:8080/
	sleep 0.2
	want=$(awk '$1 == 40001 { print $2 "," $3 "," $4 }' "$D2/access.log")
	eventually 5 rows "select bytes_sent, bytes_received, pid from connection where direction = 'in' and remote_port = 40001 and remote_comm = 'curl' and ended is not null" "$want"
	eventually 5 rows "select bytes_received, bytes_sent, remote_pid from connection where direction = 'out' and local_port = 40001 and comm = 'curl' and remote_comm = 'nginx' and ended is not null" "$want"
}

@test "IPv6 is the same" {
	in_ns curl -s -o /dev/null --local-port 40002 'http://[::1]:8080/'
	sleep 0.2
	want=$(awk '$1 == 40002 { print $2 "," $3 }' "$D2/access.log")
	eventually 5 rows "select bytes_sent, bytes_received from connection where direction = 'in' and remote_port = 40002 and remote_addr = '::1' and remote_comm = 'curl'" "$want"
}

@test "a refused connect is told with its errno" {
	in_ns curl -s http://127.0.0.1:9/ || true
	eventually 5 rows "select state, error, comm from connection where remote_port = 9 and remote_addr = '127.0.0.1'" "failed,ECONNREFUSED,curl"
}

@test "a connection older than the agent is there, with its process and direction" {
	eventually 5 rows "select direction, origin, comm, remote_comm from connection where pid = $OLD and remote_port = 8080 and state = 'established'" "out,scan,sleep,nginx"
	eventually 5 rows "select count(*) from connection where remote_pid = $OLD and direction = 'in' and local_port = 8080" 1
}

@test "bytes of a connection that stays open are seen while it lives" {
	ip netns exec $NS socat TCP-LISTEN:8090,reuseaddr EXEC:cat 3>&- &
	PIDS="${PIDS:-} $!"
	sleep 0.3
	(printf 0123456789; sleep 4) | in_ns socat - TCP:127.0.0.1:8090,sourceport=40003 >/dev/null 3>&- &
	PIDS="$PIDS $!"
	eventually 3 rows "select state, bytes_sent, bytes_received from connection where local_port = 40003 and ended is null" "established,10,10"
	wait $!
	eventually 3 rows "select state, bytes_sent, bytes_received from connection where local_port = 40003" "closed,10,10"
}

@test "a connection that nobody has used yet belongs to who listens" {
	ip netns exec $NS socat TCP-LISTEN:8092,reuseaddr,fork EXEC:cat 3>&- &
	PIDS="${PIDS:-} $!"
	listener=$!
	sleep 0.3
	kill -STOP $listener # it will not accept
	(sleep 4) | in_ns socat - TCP:127.0.0.1:8092,sourceport=40006 >/dev/null 3>&- &
	PIDS="$PIDS $!"
	eventually 3 rows "select comm, pid, remote_comm, state from connection where direction = 'in' and remote_port = 40006" "socat,$listener,socat,established"
	kill -CONT $listener
}

@test "a UDP flow has both processes, bytes and packets each way, and ends when it is silent" {
	ip netns exec $NS socat UDP-RECVFROM:8091,reuseaddr,fork EXEC:cat 3>&- &
	PIDS="${PIDS:-} $!"
	sleep 0.3
	(printf abc; sleep 0.2; printf defgh; sleep 0.5) | in_ns socat -t 0.5 - UDP:127.0.0.1:8091,sourceport=40004 >/dev/null
	eventually 3 rows "select proto, direction, bytes_sent, packets_sent, comm from connection where local_port = 40004" "udp,out,8,2,socat"
	eventually 6 rows "select count(*) from connection where local_port = 40004 and ended is not null" 1
}

@test "a name that was looked up is shown beside the address" {
	mkdir -p "/etc/netns/$NS"
	echo "nameserver 127.0.0.1" >"/etc/netns/$NS/resolv.conf"
	echo "127.0.0.1 shop.example" >"$D2/hosts"
	ip netns exec $NS dnsmasq --no-daemon --no-resolv --no-hosts --addn-hosts="$D2/hosts" --user=root --pid-file= --listen-address=127.0.0.1 --bind-interfaces >/dev/null 2>&1 3>&- &
	dns=$!
	PIDS="${PIDS:-} $dns"
	eventually 5 in_ns curl -s -4 -o /dev/null --local-port 40005 http://shop.example:8080/ # when the name server is up
	kill $dns
	rm -rf "/etc/netns/$NS"
	eventually 5 rows "select remote_name from connection where local_port = 40005 and direction = 'out'" shop.example
	eventually 5 rows "select name, rcode, answers, comm from dns where name = 'shop.example' and type = 'A' and rcode is not null limit 1" "shop.example,NOERROR,127.0.0.1,curl"
}

@test "the map leads from client to server" {
	in_ns curl -s -o /dev/null http://127.0.0.1:8080/
	sleep 1.2
	curl -s --unix-socket "$SOCK" 'http://localhost/v1/trace/map' >"$DIR/map.json"
	jq -e '.edges[] | select(.from == "curl" and .to == "nginx" and .port == 8080 and .connections > 0)' "$DIR/map.json"
}

@test "thousands of connections that stay open are seen to live, second after second" {
	ip netns exec $NS "$BATS_TEST_DIRNAME/../../build/e2e/connections/many" 3000 >"$D2/many" 3>&- &
	many=$!
	eventually 20 grep -q ready "$D2/many"
	sleep 5
	eventually 5 rows "select count(*), sum(ended is null) from connection where remote_port = 8099 and direction = 'out'" 3000,3000
	kill $many
	eventually 10 rows "select count(*), sum(ended is null) from connection where remote_port = 8099 and direction = 'out'" 3000,0
}
