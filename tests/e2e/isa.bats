#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
SKEP=${SKEP:-$BATS_TEST_DIRNAME/../../build/release/skep}

# hex PROGRAM [ARG...]
hex() {
	local program=$1
	shift
	run "$SKEP" run --hex "$@" <<<"$program"
}

setup_file() {
	DIR=$(mktemp -d /tmp/skep-isa.XXXXXX)
	export DIR
	cat >"$DIR/t.c" <<'EOF'
#define SEC(n) __attribute__((section(n), used))
struct { int (*type)[2]; int (*key); long (*value); } counters SEC(".maps");
static void *(*lookup)(void *, const void *) = (void *)1;
__attribute__((noinline)) static long scale(long a, long b) { return a * b + 7; }
SEC("socket") int prog(unsigned char *ctx)
{
	volatile short s = -3;
	volatile unsigned w = 5;
	int key = 0;
	long *v = lookup(&counters, &key), old, x;
	if (!v)
		return 0;
	__sync_fetch_and_add(v, 3);
	old = __sync_fetch_and_or(v, 9);
	x = __sync_val_compare_and_swap(v, old, 0x1234567812345678);
	x ^= __sync_lock_test_and_set((int *)v, 5) + __sync_fetch_and_xor((int *)v, 77);
	for (int i = 0; i < w; i++)
		x += scale(x, s);
	x = __builtin_bswap32(x) - __builtin_bswap16(w);
	if ((int)x < -3 || (unsigned)x > 0xfffffff0 || x < -9)
		x /= 3;
	return x % w >> 3;
}
char LICENSE[] SEC("license") = "GPL";
EOF
	clang -target bpf -mcpu=v3 -g -O2 -c "$DIR/t.c" -o "$DIR/t.o"
}

teardown_file() {
	rm -rf "$DIR"
}

@test "a program's r0 is printed in hex" {
	hex 'b7000000ffffffff9500000000000000'
	[ "$status" = 0 ]
	[ "$output" = ffffffffffffffff ]
	hex 'b4 00 00 00 2a 00 00 00  95 00 00 00 00 00 00 00' --interp
	[ "$output" = 2a ]
}

@test "r1 is the memory, r2 its length" {
	hex '7110010000000000 0f20000000000000 9500000000000000' aabbcc
	[ "$output" = be ]
	hex '6a01000034120000 6910000000000000 9500000000000000' 'aa bb cc'
	[ "$output" = 1234 ]
	hex 'bf20000000000000 9500000000000000'
	[ "$output" = 0 ]
}

@test "what is wrong with a program is said in one line" {
	while IFS='|' read -r program reason; do
		hex "$program" aabb
		[ "$status" = 1 ]
		[ "${#lines[@]}" = 1 ]
		[[ "$output" == *"$reason"* ]] || { echo "$program: $output"; return 1; }
	done <<'EOF'
8f00000000000000|insn 0: unknown opcode 8f
b70b000000000000 9500000000000000|insn 0: R11 is invalid
b700000000000000|last insn is not an exit or jmp
9500000000000000 9500000000000000|unreachable insn 1
3700000000000000 9500000000000000|div by zero
0500010000000000 9500000000000000|jump out of range from insn 0 to 2
7110020000000000 9500000000000000|insn 0: r0 = *(u8 *)(r1 +2): no such access to 1 byte at 0x
8500000001000000 9500000000000000|call bpf_map_lookup_elem#1: bare bytes have no helpers
1811000003000000 0000000000000000 9500000000000000|map[fd:3]: bare bytes have no helpers and maps
b7|are no program
b7000|is no hex
hello|is no hex
|0 bytes are no program
EOF
}

@test "the JIT computes the same, or says that there is none" {
	hex 'b7000000070000002700000006000000 9500000000000000' --jit
	if [ "$status" = 1 ]; then
		[[ "$output" == *"no JIT"* ]]
		skip "this build has no JIT"
	fi
	[ "$output" = 2a ]
}

@test "run without --hex, and with both ways to run, is a wrong command line" {
	run "$SKEP" run
	[ "$status" = 2 ]
	hex '9500000000000000' --jit --interp
	[ "$status" = 2 ]
}

# Both texts in one form: llvm's numbers, the kernel's names for atomics, no 64-bit immediates.
ours() {
	"$SKEP" disasm --json "$1" |
		jq -r '"\(.pc): " + if .op == "LDDW" then (.text / " = ")[0] + " = LL" else .text end' |
		perl -pe 's/0x([0-9a-f]+) goto/unpack("l", pack("L", hex $1)) . " goto"/e;
			s/goto pc/goto /; s/call pc/call /; s/call bpf_\w+#/call /; s/call \+/call /;'
}

llvms() {
	llvm-objdump -d --mattr=+alu32 --no-show-raw-insn "$1" | grep -E '^ *[0-9]+:' | perl -pe '
		s/^ *(\d+):\t/$1: /; s/ <\S+>$//; s/ = \S+ ll$/ = LL/; s/\((r\d+) ([+-]) /($1 $2/;
		s/(cmp)?xchg_64\((r\d+ \S+),/atomic64_$1xchg((u64 *)($2),/;
		s/(cmp)?xchg32_32\((r\d+ \S+),/atomic_$1xchg((u32 *)($2),/;
		s/atomic_fetch/atomic64_fetch/ if /u64/;
		s/\bw(\d+)/r$1/g if /\*\(|atomic/;'
}

@test "disasm says what llvm-objdump says" {
	for o in "$DIR/t.o" "$BATS_TEST_DIRNAME"/../../build/bpf/*/*.bpf.o; do
		diff <(ours "$o") <(llvms "$o")
		[ "$(ours "$o" | wc -l)" -ge 2 ] # the smallest returns a number
	done
}

@test "disasm shows functions, source lines, maps and callees" {
	run "$SKEP" disasm "$DIR/t.o"
	[ "$status" = 0 ]
	[[ "$output" == *$'\nprog:\n; t.c:5: SEC("socket") int prog'* ]]
	[[ "$output" == *'; t.c:13: __sync_fetch_and_add(v, 3);'*'lock *(u64 *)(r'* ]]
	[[ "$output" == *' = counters'* ]]
	[[ "$output" == *$'call pc-1\t; scale'* ]]
	"$SKEP" disasm --json "$DIR/t.o" >"$DIR/json"
	[ "$(jq -r 'select(.line == 13 and (.op | startswith("ATOMIC64"))) | .function' "$DIR/json")" = prog ]
	[ "$(jq -r 'select(.op == "CALL_LOCAL") | .refers' "$DIR/json")" = scale ]
}

@test "disasm says of other files what is wrong" {
	run "$SKEP" disasm /bin/sh
	[ "$status" = 1 ]
	[[ "$output" == *"/bin/sh is no BPF object"* ]]
	run "$SKEP" disasm "$DIR/none"
	[ "$status" = 1 ]
	[[ "$output" == *"No such file"* ]]
	head -c 700 "$DIR/t.o" >"$DIR/cut.o"
	run "$SKEP" disasm "$DIR/cut.o"
	[ "$status" -le 1 ]
}
