#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# skep run OBJ: the same object on the same packets, in the engine and in the kernel.
load common

setup_file() {
	export DIR=$(mktemp -d /tmp/skep-test.XXXXXX)
	chmod 755 "$DIR"
	export OBJ=$DIR/count.bpf.o PCAP=$DIR/in.pcap
	clang -target bpf -O2 -g "-I/usr/include/$(uname -m)-linux-gnu" -c "$BATS_TEST_DIRNAME/run/count.bpf.c" -o "$OBJ"
	capture >"$PCAP"
}
teardown_file() { clean; }

u32() { printf "\\x$(printf %02x $(($1 & 255)))\\x$(printf %02x $(($1 >> 8 & 255)))\\x$(printf %02x $(($1 >> 16 & 255)))\\x00"; }

# 30 frames of 60 to 147 bytes, IPv4, IPv6 and ARP in turn.
capture() {
	printf '\xd4\xc3\xb2\xa1\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\x00\x00\x01\x00\x00\x00'
	local i len types=('\x08\x00' '\x86\xdd' '\x08\x06')
	for i in $(seq 0 29); do
		len=$((60 + i * 3))
		u32 1700000; u32 "$i"; u32 $len; u32 $len
		printf '\x02\x00\x00\x00\x00\x01\x02\x00\x00\x00\x00\x02'"${types[i % 3]}"
		head -c $((len - 14)) /dev/zero | tr '\0' "$(printf "\\$(printf %03o $((65 + i % 26)))")"
	done
}

@test "verdicts, maps and globals are told, as ordinary user" {
	run setpriv --reuid=65534 --regid=65534 --clear-groups "$SKEP" run "$OBJ" --prog count --in "$PCAP" --set drop=0x806 --dump all --json
	echo "$output"
	[ "$status" -eq 0 ]
	[ "$(jq -c .verdicts <<<"$output")" = '{"XDP_DROP":10,"XDP_PASS":10,"XDP_TX":10}' ]
	[ "$(jq -c '.maps.types | sort_by(.key) | map(.key)' <<<"$output")" = '[2048,2054,34525]' ]
	[ "$(jq -c '.maps["count.bss"][0].value.seen' <<<"$output")" = 30 ]
	[ "$(jq -c '.maps.total[0].value | add' <<<"$output")" = 30 ]
}

@test "the kernel decides the same and leaves the same in its maps" {
	need_root
	for prog in count big; do
		for host in engine kernel; do
			"$SKEP" run "$OBJ" --prog $prog --in "$PCAP" --out "$DIR/$host.pcap" --set drop=0x806 --set types:7=hex:01000000000000000200000000000000 --dump types,total --host $host --json |
				jq -S '{verdicts, types: (.maps.types | sort_by(.key)), total: (.maps.total[0].value | add)}' >"$DIR/$host.json"
		done
		cmp "$DIR/engine.json" "$DIR/kernel.json"
		cmp "$DIR/engine.pcap" "$DIR/kernel.pcap"
	done
}

@test "packets come out as the program left them" {
	"$SKEP" run "$OBJ" --prog count --in "$PCAP" --out "$DIR/out.pcap" --set drop=0x806
	# 24 bytes of head, 16 a packet: 10 cut to 40 bytes, 10 as they were (60, 69 ... 141)
	[ "$(stat -c %s "$DIR/out.pcap")" -eq $((24 + 20 * 16 + 10 * 40 + 10 * (60 + 141) / 2)) ]
}

@test "compiled it decides as interpreted" {
	for how in --interp --unsafe; do
		"$SKEP" run "$OBJ" --prog count --in "$PCAP" --repeat 3 $how --dump types,total --json | jq -S '{verdicts, packets, runs, maps: (.maps.types | sort_by(.key))}' >"$DIR/how$how"
	done
	cmp "$DIR/how--interp" "$DIR/how--unsafe"
	"$SKEP" run "$OBJ" --prog count --unsafe --stats --json | jq -e '.jited_bytes > 0 and .run_cnt == 1'
}

@test "a program without packets is run once" {
	run "$SKEP" run "$OBJ" --prog alone --json
	[ "$status" -eq 0 ]
	[ "$(jq .last <<<"$output")" = 42 ]
}

@test "what is wrong is said in one sentence" {
	run "$SKEP" run "$OBJ"
	[ "$status" -eq 1 ]
	[[ "$output" == *"choose one with --prog: count, big, alone"* ]]
	run "$SKEP" run "$OBJ" --prog nope
	[ "$status" -eq 1 ]
	[[ "$output" == *"has no program nope"* ]]
	run "$SKEP" run "$OBJ" --prog count --set drop=x
	[ "$status" -eq 1 ]
	[[ "$output" == *"--set drop: 'x' is no number of 4 bytes"* ]]
	run "$SKEP" run "$OBJ" --prog count --set other=1
	[[ "$output" == *"there is no variable of that name"* ]]
	run "$SKEP" run "$OBJ" --prog count --set types:1=2
	[[ "$output" == *"--set types"* ]]
	run "$SKEP" run "$OBJ" --prog count --dump nothing
	[[ "$output" == *"there is no map of that name"* ]]
	run "$SKEP" run "$OBJ" --prog alone --in "$PCAP"
	[[ "$output" == *"take no packets"* ]]
	run "$SKEP" run "$PCAP"
	[ "$status" -eq 1 ]
	run "$SKEP" run /nowhere/x.o
	[ "$output" = "skep: /nowhere/x.o: No such file or directory" ]
	run "$SKEP" run /etc/passwd
	[[ "$output" == *"/etc/passwd is no BPF object"* ]]
	head -c 30 "$PCAP" >"$DIR/cut.pcap"
	run "$SKEP" run "$OBJ" --prog count --in "$DIR/cut.pcap"
	[ "$status" -eq 1 ]
	[[ "$output" == *"$DIR/cut.pcap is damaged"* ]]
	run "$SKEP" run "$OBJ" --prog count --unsafe --interp
	[ "$status" -eq 2 ]
	for set in drop drop:7 =7 :7=7; do
		run "$SKEP" run "$OBJ" --prog count --set $set
		[ "$status" -eq 2 ]
		[[ "$output" == *"--set takes MAP:KEY=VALUE or VARIABLE=VALUE"* ]]
	done
	run "$SKEP" run --hex --prog count
	[ "$status" -eq 2 ]
	[[ "$output" == *"--hex takes"* ]]
	run "$SKEP" run
	[ "$status" -eq 2 ]
}

@test "an object without programs has nothing to run or to print" {
	echo 'int x;' | clang -target bpf -xc -c -o "$DIR/none.o" -
	for verb in run disasm; do
		run "$SKEP" $verb "$DIR/none.o"
		[ "$status" -eq 1 ]
		[[ "$output" == "skep: $DIR/none.o has no "* ]]
	done
}

@test "who may not load into the kernel is told so, with status 4" {
	[ "$(id -u)" = 0 ] || skip "needs root"
	cp "$(readlink -f "$SKEP")" "$DIR/skep"
	chmod 755 "$DIR" "$DIR/skep"
	chmod 644 "$OBJ"
	run setpriv --reuid=65534 --regid=65534 --clear-groups "$DIR/skep" run "$OBJ" --prog count --host kernel
	[ "$status" -eq 4 ]
	[[ "$output" == *"the kernel loads programs for root alone"* ]]
}
