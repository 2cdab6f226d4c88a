// SPDX-License-Identifier: Apache-2.0
/* Every row of insn.def through decode, encode, text and parse; every opcode byte against the table. */
#include "isa/table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static struct skep_err err;

/* An encoding of @row with fields that are not fixed set to something. */
static void sample(const struct isa_row *row, struct bpf_insn out[2])
{
	memset(out, 0, 2 * sizeof(*out));
	out[0].code = row->code;
	out[0].dst_reg = row->uses_dst ? 3 : 0;
	out[0].src_reg = row->src == ISA_ANY ? 7 : (uint8_t)row->src;
	out[0].off = row->off == ISA_ANY ? -24 : (int16_t)row->off;
	out[0].imm = row->imm == ISA_ANY ? 12 : row->imm;
	out[1].imm = row->upper ? 0x1234 : 0;
}

static void every_row_survives_decode_encode_text_and_parse(void **state maybe_unused)
{
	struct bpf_insn in[2], back[2];
	struct isa_insn insn[2], parsed[2];
	char text[128];
	int n, slots;

	for (unsigned op = ISA_FIRST; op < ISA_OPS; op++) {
		slots = isa_rows[op].wide ? 2 : 1;
		memset(back, 0, sizeof(back));
		memset(parsed, 0, sizeof(parsed));
		memset(insn, 0, sizeof(insn));
		sample(&isa_rows[op], in);
		assert_int_equal(isa_decode(in, (unsigned)slots, insn, &err), 0);
		assert_int_equal(insn[0].op, op);
		isa_encode(insn, (unsigned)slots, back);
		assert_memory_equal(in, back, (size_t)slots * sizeof(in[0]));
		assert_true(isa_text(text, sizeof(text), insn, 0, NULL) > 3);
		n = isa_parse(text, parsed, &err);
		if (n != slots || memcmp(parsed, insn, sizeof(insn)))
			fail_msg("%s: '%s' is read as %d slots, %s", isa_name(op), text, n,
				 n < 0 ? err.text : isa_name(parsed[0].op));
	}
}

static void extreme_numbers_survive_text_and_parse(void **state maybe_unused)
{
	static const int32_t imms[] = {0, 1, -1, INT32_MAX, INT32_MIN, 0x7fff, -0x8000};
	static const int16_t offs[] = {0, 1, -1, INT16_MAX, INT16_MIN};
	struct isa_insn insn[2], parsed[2];
	const struct isa_row *row;
	char text[128];

	for (unsigned k = 1; k < ISA_OPS * array_size(imms) * array_size(offs); k++) {
		row = &isa_rows[k % ISA_OPS];
		memset(insn, 0, sizeof(insn));
		memset(parsed, 0, sizeof(parsed));
		insn[0].op = (uint8_t)(k % ISA_OPS);
		insn[0].imm = row->imm == ISA_ANY ? imms[k / ISA_OPS % array_size(imms)] : row->imm;
		insn[0].off = row->off == ISA_ANY ? offs[k % array_size(offs)] : (int16_t)row->off;
		insn[0].dst = row->uses_dst ? 10 : 0;
		insn[0].src = row->src == ISA_ANY ? 10 : (uint8_t)row->src;
		insn[1].imm = row->upper ? imms[(k + 3) % array_size(imms)] : 0;
		if (insn[0].op < ISA_FIRST)
			continue;
		isa_text(text, sizeof(text), insn, 0, NULL);
		if (isa_parse(text, parsed, &err) < 1 || memcmp(parsed, insn, sizeof(insn)))
			fail_msg("%s: '%s'", row->name, text);
	}
}

/* What decode should say, found without its chains: by looking at every row. */
static unsigned expected_op(const struct bpf_insn *in)
{
	const struct isa_row *row;

	for (unsigned op = ISA_FIRST; op < ISA_OPS; op++) {
		row = &isa_rows[op];
		if (row->code == in->code && isa_row_fits(row, in) &&
		    in->dst_reg <= (row->uses_dst ? 10 : 0) && in->src_reg <= 10)
			return op;
	}
	return ISA_NONE;
}

static void decode_agrees_with_the_table_for_every_opcode(void **state maybe_unused)
{
	static const int32_t imms[] = {0,    1,	   2,	 8,    16,    32,    64,
				       0x40, 0x41, 0x50, 0xa1, 0xe1,  0xf1,  0xe0,
				       -1,   0x51, 0xa0, 0xf0, 0x100, 0x110, 0x101};
	static const int16_t offs[] = {0, 1, 2, 8, 16, 32, 64, -1, 7};
	struct bpf_insn in[2] = {{0}};
	struct isa_insn out[2];
	unsigned refused = 0, taken = 0, op;
	int rc;

	for (unsigned code = 0; code < 256; code++)
		for (unsigned regs = 0; regs < 256; regs++)
			for (unsigned f = 0; f < array_size(imms) * array_size(offs); f++) {
				in[0] = (struct bpf_insn){(uint8_t)code, regs & 15, regs >> 4,
							  offs[f % array_size(offs)],
							  imms[f / array_size(offs)]};
				op = expected_op(in);
				rc = isa_decode(in, isa_rows[op].wide ? 2 : 1, out, NULL);
				if (rc != (op ? 0 : -EINVAL) || (op && out[0].op != op))
					fail_msg("%02x %02x %04x %08x: %d, %s", code, regs,
						 in[0].off, (unsigned)in[0].imm, rc, isa_name(op));
				op ? taken++ : refused++;
			}
	assert_true(taken > 100000);
	assert_true(refused > 1000000);
}

static void refused(const char *reason, struct bpf_insn a, struct bpf_insn b)
{
	struct bpf_insn in[] = {{.code = 0xb7}, a, b};
	struct isa_insn out[3];

	err.text[0] = '\0';
	assert_int_equal(isa_decode(in, b.code == 0xff ? 2 : 3, out, &err), -EINVAL);
	if (!strstr(err.text, reason) || strncmp(err.text, "insn 1: ", 8))
		fail_msg("'%s' should say '%s'", err.text, reason);
}

static void a_refusal_says_where_and_why(void **state maybe_unused)
{
	const struct bpf_insn none = {.code = 0xff}, zero = {0};

	refused("unknown opcode 8f", (struct bpf_insn){.code = 0x8f}, none);
	refused("R11 is invalid", (struct bpf_insn){.code = 0xb7, .dst_reg = 11}, none);
	refused("R15 is invalid", (struct bpf_insn){.code = 0xbf, .src_reg = 15}, none);
	refused("BPF_ALU uses reserved fields", (struct bpf_insn){.code = 0x07, .src_reg = 1},
		none);
	refused("BPF_MOV uses reserved fields", (struct bpf_insn){.code = 0xbf, .off = 3}, none);
	refused("BPF_END uses reserved fields", (struct bpf_insn){.code = 0xdc, .imm = 8}, none);
	refused("BPF_NEG uses reserved fields", (struct bpf_insn){.code = 0x87, .imm = 1}, none);
	refused("BPF_JA uses reserved fields", (struct bpf_insn){.code = 0x05, .imm = 1}, none);
	refused("BPF_EXIT uses reserved fields", (struct bpf_insn){.code = 0x95, .dst_reg = 1},
		none);
	refused("BPF_CALL uses reserved fields", (struct bpf_insn){.code = 0x85, .src_reg = 3},
		none);
	refused("BPF_LDX uses reserved fields", (struct bpf_insn){.code = 0x79, .imm = 1}, none);
	refused("BPF_ATOMIC uses invalid atomic opcode 77",
		(struct bpf_insn){.code = 0xdb, .imm = 0x77}, none);
	refused("invalid bpf_ld_imm64 insn", (struct bpf_insn){.code = 0x18}, none);
	refused("invalid bpf_ld_imm64 insn", (struct bpf_insn){.code = 0x18},
		(struct bpf_insn){.code = 0x18});
	refused("invalid bpf_ld_imm64 insn", (struct bpf_insn){.code = 0x18},
		(struct bpf_insn){.off = 1});
	refused("unrecognized bpf_ld_imm64 insn", (struct bpf_insn){.code = 0x18, .src_reg = 1},
		(struct bpf_insn){.imm = 1});
	refused("unrecognized bpf_ld_imm64 insn", (struct bpf_insn){.code = 0x18, .src_reg = 7},
		zero);
	refused("BPF_LD_IMM64 uses reserved fields", (struct bpf_insn){.code = 0x18, .off = 7},
		zero);
}

static const char *text_of(const char *line)
{
	static char text[128];
	struct isa_insn insn[2];

	if (isa_parse(line, insn, &err) < 0)
		return err.text;
	isa_text(text, sizeof(text), insn, 0, NULL);
	return text;
}

static void text_is_the_kernels(void **state maybe_unused)
{
	static const char *const lines[] = {
		"r1 += -8",
		"w1 = w2",
		"r0 = -r0",
		"r3 s>>= r4",
		"r1 = (s8)r2",
		"r6 = be16 r6",
		"if r1 s> 0xfffffffe goto pc-3",
		"if w1 & w2 goto pc+3",
		"gotol pc+70000",
		"may_goto pc+1",
		"call bpf_map_lookup_elem#1",
		"call unknown#9999",
		"call pc+4",
		"call kfunc#4711@2",
		"r1 = *(s16 *)(r10 -4)",
		"*(u64 *)(r10 -8) = -1",
		"lock *(u32 *)(r1 +0) |= r2",
		"r2 = atomic64_fetch_add((u64 *)(r1 +0), r2)",
		"r0 = atomic_cmpxchg((u32 *)(r10 -4), r0, r1)",
		"r2 = load_acquire((u8 *)(r1 +0))",
		"r1 = 0xffffffffffffffff",
		"r1 = map[fd:3][0]+16",
		"r1 = func pc+2",
		"r0 = *(u16 *)skb[r7 + -4]",
		"exit",
	};

	for (unsigned i = 0; i < array_size(lines); i++)
		assert_string_equal(text_of(lines[i]), lines[i]);
	assert_string_equal(text_of("  r1   +=\t8  ; add"), "r1 += 8");
}

static void wrong_text_is_refused_with_what_could_stand(void **state maybe_unused)
{
	static const char *const lines[] = {
		"",
		"r11 = 1",
		"r1 += 4294967296",
		"r1 = r2 r3",
		"r1 = -r2",
		"goto pc3",
		"goto pc+40000",
		"if r1 == 0x1ffffffff goto pc+1",
		"call bpf_foo#1",
		"r1 = 0x",
		"r1 += 0x0x1",
		"r2 = atomic64_xchg((u64 *)(r1 +0), r3)",
		"call bpf_unspec",
		"r1 = le16 r2",
		"r1 =",
		"exit now",
	};
	struct isa_insn insn[2];

	for (unsigned i = 0; i < array_size(lines); i++) {
		err.text[0] = '\0';
		if (isa_parse(lines[i], insn, &err) != -EINVAL || !err.text[0])
			fail_msg("'%s' is taken for %s", lines[i], isa_name(insn[0].op));
	}
	isa_parse("if r1 == r2 gotoo pc+1", insn, &err);
	assert_non_null(strstr(err.text, "'o pc+1' where ' {j}' could stand"));
}

static const char *helper_name(void *arg, int id)
{
	return id == 1 ? arg : NULL;
}

static const char *value_name(void *arg maybe_unused, unsigned pc)
{
	return pc == 5 ? "counters[0]" : NULL;
}

static void names_come_from_who_knows_them(void **state maybe_unused)
{
	const struct isa_names names = {helper_name, helper_name, value_name, (char *)"mine"};
	struct isa_insn insn[2] = {{.op = ISA_CALL, .imm = 1}};
	char text[64];

	isa_text(text, sizeof(text), insn, 0, &names);
	assert_string_equal(text, "call bpf_mine#1");
	insn[0].imm = 2;
	isa_text(text, sizeof(text), insn, 0, &names);
	assert_string_equal(text, "call bpf_map_update_elem#2");
	insn[0] = (struct isa_insn){.op = ISA_CALL_KFUNC, .imm = 1};
	isa_text(text, sizeof(text), insn, 0, &names);
	assert_string_equal(text, "call mine#1");
	insn[0] = (struct isa_insn){.op = ISA_LDDW, .dst = 2};
	isa_text(text, sizeof(text), insn, 5, &names);
	assert_string_equal(text, "r2 = counters[0]");
	isa_text(text, sizeof(text), insn, 4, &names);
	assert_string_equal(text, "r2 = 0x0");
}

static void text_is_cut_where_room_ends(void **state maybe_unused)
{
	const struct isa_insn insn = {.op = ISA_LDX64, .dst = 1, .src = 2, .off = 8};
	char text[10];

	for (size_t cap = 1; cap <= sizeof(text); cap++) {
		memset(text, 'x', sizeof(text));
		assert_int_equal(isa_text(text, cap, &insn, 0, NULL), cap - 1);
		assert_int_equal(strlen(text), cap - 1);
	}
	assert_int_equal(isa_text(NULL, 0, &insn, 0, NULL), 0);
}

static void what_an_instruction_writes_is_known(void **state maybe_unused)
{
	static const struct {
		enum isa_op op;
		int reg;
	} cases[] = {
		{ISA_ADD64_K, 3},     {ISA_NEG32, 3},	    {ISA_LDX8, 3},
		{ISA_LDDW, 3},	      {ISA_STX64, -1},	    {ISA_ST8, -1},
		{ISA_JEQ64_X, -1},    {ISA_FETCH64_ADD, 7}, {ISA_ATOMIC64_ADD, -1},
		{ISA_CMPXCHG32, 0},   {ISA_XCHG64, 7},	    {ISA_LOAD_ACQ16, 3},
		{ISA_STORE_REL8, -1}, {ISA_LD_ABS8, 0},	    {ISA_CALL, 0},
		{ISA_CALL_REG, 0},    {ISA_EXIT, -1},	    {ISA_BSWAP16, 3},
		{ISA_MAY_GOTO, -1},
	};
	struct isa_insn insn = {.dst = 3, .src = 7};

	for (unsigned i = 0; i < array_size(cases); i++) {
		insn.op = (uint8_t)cases[i].op;
		assert_int_equal(isa_written(&insn), cases[i].reg);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_row_survives_decode_encode_text_and_parse),
		cmocka_unit_test(extreme_numbers_survive_text_and_parse),
		cmocka_unit_test(decode_agrees_with_the_table_for_every_opcode),
		cmocka_unit_test(a_refusal_says_where_and_why),
		cmocka_unit_test(text_is_the_kernels),
		cmocka_unit_test(wrong_text_is_refused_with_what_could_stand),
		cmocka_unit_test(names_come_from_who_knows_them),
		cmocka_unit_test(text_is_cut_where_room_ends),
		cmocka_unit_test(what_an_instruction_writes_is_known),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
