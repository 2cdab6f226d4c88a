# SPDX-License-Identifier: Apache-2.0
# balance.bash: a client, a balancer and backends on one switch, each in a namespace $NS-NAME;
# backends answer the client directly. Set NS before net_up; setup_file and teardown_file of the test
# call net_up and net_down.
VIP=203.0.113.10
VIP6=2001:db8:f::10

# host NAME NUMBER: a namespace on the switch, with 10.77.0.NUMBER and fd77::NUMBER
host() {
	local ns=$NS-$1
	ip netns add "$ns"
	ip -n "$ns" link set lo up
	ip link add "eth0" netns "$ns" type veth peer name "$1" netns "$NS-switch"
	ip netns exec "$NS-switch" ethtool -K "$1" gro on tx off >/dev/null 2>&1
	ip netns exec "$ns" ethtool -K eth0 gro on tx off tso off gso off >/dev/null 2>&1
	ip -n "$NS-switch" link set "$1" master switch up
	ip -n "$ns" addr add "10.77.0.$2/24" dev eth0
	ip -n "$ns" addr add "fd77::$2/64" dev eth0 nodad
	ip -n "$ns" link set eth0 up
}

in_ns() { ip netns exec "$NS-$1" "${@:2}"; }

backend_up() { # backend_up NAME NUMBER: addresses of the service on lo, unpacking
	host "$1" "$2"
	ip -n "$NS-$1" addr add $VIP/32 dev lo
	ip -n "$NS-$1" addr add $VIP6/128 dev lo nodad
	mkdir -p "$DIR/$1"
	unpack_up "$1"
}

unpack_up() { # as a backend of skep's own
	ip netns exec "$NS-$1" "$SKEP" balance backend --interface eth0 ${GUE_PORT:+--gue-port $GUE_PORT} 2>"$DIR/$1/log" 3>&- &
	echo $! >"$DIR/$1/unpack.pid"
	echo $! >>"$DIR/pids"
}

balancer_up() { # [LINE OF spec.balance]...
	{
		printf 'apiVersion: skep/v1\nkind: Agent\nmetadata: {name: test}\nspec:\n  listen: "off"\n  balance:\n    interfaces: [eth0]\n    pinDir: %s/bpf/skep\n' "$DIR"
		[ $# -eq 0 ] || printf '    %s\n' "$@"
	} >"$DIR/skep.yaml"
	agent_start
}

agent_start() { # the configuration that there is
	ip netns exec "$NS-balancer" "$SKEP" up --config "$DIR/skep.yaml" --state-dir "$DIR/state" --socket "$SKEP_SOCKET" 2>>"$DIR/agent.log" 3>&- &
	echo $! >"$DIR/pid"
	eventually 30 agent_answers
}

agent_answers() { "$SKEP" balance get >/dev/null 2>&1; }

services() { # services BACKEND[=WEIGHT]...: applied; $SPEC: more lines of spec, $FOUR: IPv4 only
	local b w
	{
		printf 'apiVersion: skep/v1\nkind: Service\nmetadata: {name: web}\nspec:\n'
		printf '  vips: ["%s:80/tcp", "%s:7/tcp", "%s:53/udp"%s]\n' $VIP $VIP $VIP "$([ -n "${FOUR:-}" ] || printf ', "[%s]:80/tcp"' $VIP6)"
		[ -z "${SPEC:-}" ] || printf '  %s\n' "$SPEC"
		echo '  backends:'
		for b in "$@"; do
			w=${b#*=}
			[ "$w" != "$b" ] || w=1
			printf '    - {address: 10.77.0.%s, weight: %s}\n' "${b%=*}" "$w"
		done
	} >"$DIR/services.yaml"
	"$SKEP" apply -f "$DIR/services.yaml" >"$DIR/applied"
}

net_up() { # NAME...: backends 11, 12 ...
	local n=11 b
	need_root
	export DIR=$(mktemp -d /tmp/skep-test.XXXXXX)
	export SKEP_SOCKET=$DIR/skep.sock NS
	chmod 755 "$DIR"
	mkdir "$DIR/bpf"
	mount -t bpf bpf "$DIR/bpf"
	ip netns add "$NS-switch"
	ip -n "$NS-switch" link add switch type bridge
	ip -n "$NS-switch" link set switch up
	host balancer 1
	in_ns balancer sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward; echo 1 >/proc/sys/net/ipv6/conf/all/forwarding'
	# veth delivers what XDP_TX sends only to an end that has a program of its own: one that passes all
	ip netns exec "$NS-switch" "$SKEP" balance backend --interface balancer 2>/dev/null 3>&- &
	echo $! >>"$DIR/pids"
	host client 9
	ip -n "$NS-client" route add $VIP via 10.77.0.1 mtu 1400
	ip -n "$NS-client" route add $VIP6 via fd77::1 mtu 1400
	for b in "$@"; do
		backend_up "$b" $n
		n=$((n + 1))
	done
}

net_down() {
	local n p
	for p in $(cat "$DIR/pids" 2>/dev/null); do kill "$p" 2>/dev/null || true; done
	agent_down
	for n in $(ip netns list | awk -v p="^$NS-" '$1 ~ p { print $1 }'); do
		for p in $(ip netns pids "$n"); do kill -9 "$p" 2>/dev/null || true; done
		ip netns del "$n"
	done
	umount "$DIR/bpf" || true
	clean
}

neighbours_known() { # NUMBER...: the balancer has asked
	local n
	for n in "$@"; do in_ns balancer ping -c 1 -W 1 "10.77.0.$n" >/dev/null || return 1; done
}
