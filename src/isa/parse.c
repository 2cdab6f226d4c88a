// SPDX-License-Identifier: Apache-2.0
/*
 * parse.c: text to instructions: the templates of insn.def read backwards.
 *
 * A line is held against each template in turn; the first that takes all of it wins. Templates do not
 * overlap: registers, decimal and hexadecimal numbers look different. Where none fits, the one that
 * came furthest says what was expected.
 */
#include "isa/table.h"

struct reader {
	const char *at;
	struct isa_insn *out;
	bool dst, src; /* has been read: another mention must be the same */
};

static bool blank(char c)
{
	return c == ' ' || c == '\t';
}

static bool read_word(struct reader *r, const char *word)
{
	size_t n = strlen(word);

	if (strncmp(r->at, word, n))
		return false;
	r->at += n;
	return true;
}

static bool read_reg(struct reader *r, char letter, bool dst)
{
	bool *seen = dst ? &r->dst : &r->src;
	unsigned reg, old = dst ? r->out->dst : r->out->src;

	if (r->at[0] != letter || r->at[1] < '0' || r->at[1] > '9')
		return false;
	reg = (unsigned)(r->at[1] - '0');
	if (reg == 1 && r->at[2] == '0')
		reg = 10;
	if (*seen && reg != old)
		return false;
	r->at += reg == 10 ? 3 : 2;
	*seen = true;
	if (dst)
		r->out->dst = (uint8_t)(reg & 15);
	else
		r->out->src = (uint8_t)(reg & 15);
	return true;
}

/* Digits of @base, without sign or prefix. */
static bool read_digits(struct reader *r, int base, uint64_t most, uint64_t *v)
{
	char *end;

	if (!strchr(base == 16 ? "0123456789abcdefABCDEF" : "0123456789", *r->at) || !*r->at)
		return false;
	errno = 0;
	*v = strtoull(r->at, &end, base);
	if (errno || *v > most || (r->at[0] == '0' && (r->at[1] == 'x' || r->at[1] == 'X')))
		return false;
	r->at = end;
	return true;
}

static bool read_hex(struct reader *r, uint64_t most, uint64_t *v)
{
	return read_word(r, "0x") && read_digits(r, 16, most, v);
}

/* @sign: it must be there, plus too. Numbers of 32 bits may be written unsigned. */
static bool read_decimal(struct reader *r, bool sign, int64_t least, int64_t most, int64_t *v)
{
	bool minus = *r->at == '-';
	uint64_t u;

	if (minus || (sign && *r->at == '+'))
		r->at++;
	else if (sign)
		return false;
	if (!read_digits(r, 10, (uint64_t)(minus ? -least : most), &u))
		return false;
	*v = minus ? -(int64_t)u : (int64_t)u;
	return true;
}

static bool read_off(struct reader *r)
{
	int64_t v;

	if (!read_decimal(r, true, INT16_MIN, INT16_MAX, &v))
		return false;
	r->out->off = (int16_t)v;
	return true;
}

static bool read_imm(struct reader *r, bool sign)
{
	int64_t v;

	if (!read_decimal(r, sign, INT32_MIN, sign ? INT32_MAX : UINT32_MAX, &v))
		return false;
	r->out->imm = (int32_t)v;
	return true;
}

static bool read_imm_hex(struct reader *r, bool wide)
{
	uint64_t v;

	if (!read_hex(r, wide ? UINT64_MAX : UINT32_MAX, &v))
		return false;
	if (wide)
		isa_set_imm64(r->out, v);
	else
		r->out->imm = (int32_t)v;
	return true;
}

static bool read_upper(struct reader *r)
{
	int64_t v;

	if (!read_decimal(r, false, 0, UINT32_MAX, &v))
		return false;
	r->out[1].imm = (int32_t)v;
	return true;
}

/* "bpf_map_lookup_elem#1": a name that is another helper's, or none's, is refused. */
static bool read_helper(struct reader *r)
{
	const char *name = r->at, *known;
	size_t n = strcspn(name, "#");

	if (!name[n])
		return false;
	r->at += n + 1;
	if (!read_imm(r, false))
		return false;
	known = isa_helper_name(r->out->imm);
	if (!known)
		return n == 7 && !memcmp(name, "unknown", n);
	return n == strlen(known) + 4 && !memcmp(name, "bpf_", 4) &&
	       !memcmp(name + 4, known, n - 4);
}

static bool read_kfunc(struct reader *r)
{
	int64_t slot;

	if (!read_word(r, "kfunc#") || !read_imm(r, false))
		return false;
	if (*r->at != '@')
		return true;
	r->at++;
	if (!read_decimal(r, false, INT16_MIN, INT16_MAX, &slot))
		return false;
	r->out->off = (int16_t)slot;
	return true;
}

static bool read_field(struct reader *r, const char *key, size_t n)
{
	if (n == 2)
		return read_reg(r, 'w', key[1] == 'd');
	switch (*key) {
	case 'd':
	case 's':
		return read_reg(r, 'r', *key == 'd');
	case 'i':
		return read_imm(r, false);
	case 'x':
	case 'l':
		return read_imm_hex(r, *key == 'l');
	case 'u':
		return read_upper(r);
	case 'o':
		return read_off(r);
	case 'j':
		return read_word(r, "pc") && read_off(r);
	case 'g':
		return read_word(r, "pc") && read_imm(r, true);
	case 'h':
		return read_helper(r);
	default:
		return read_kfunc(r);
	}
}

/* One step: a field, blanks for blanks, or one character. */
static bool read_part(struct reader *r, const char **t)
{
	size_t n;

	if (**t == '{') {
		n = strcspn(*t, "}");
		if (!read_field(r, *t + 1, n - 1))
			return false;
		*t += n + 1;
		return true;
	}
	if (**t == ' ') {
		if (!blank(*r->at))
			return false;
		r->at += strspn(r->at, " \t");
	} else if (*r->at++ != **t) {
		r->at--;
		return false;
	}
	(*t)++;
	return true;
}

static bool read_row(struct reader *r, const struct isa_row *row, const char **stuck)
{
	const char *t = row->text;

	while (*t)
		if (!read_part(r, &t)) {
			*stuck = t;
			return false;
		}
	r->at += strspn(r->at, " \t\n");
	*stuck = "end of line";
	return !*r->at || *r->at == ';';
}

static void fix_fields(struct isa_insn *insn, const struct isa_row *row)
{
	if (row->src > 0)
		insn->src = (uint8_t)(row->src & 15);
	if (row->off > 0)
		insn->off = (int16_t)row->off;
	if (row->imm > 0)
		insn->imm = row->imm;
}

int isa_parse(const char *line, struct isa_insn out[2], struct skep_err *err)
{
	const char *stuck = "", *expected = "", *furthest = line;
	struct isa_insn insn[2];
	struct reader r;

	line += strspn(line, " \t");
	for (unsigned op = ISA_FIRST; op < ISA_OPS; op++) {
		memset(insn, 0, sizeof(insn));
		r = (struct reader){.at = line, .out = insn};
		insn[0].op = (uint8_t)op;
		if (read_row(&r, &isa_rows[op], &stuck)) {
			fix_fields(insn, &isa_rows[op]);
			memcpy(out, insn, isa_rows[op].wide ? sizeof(insn) : sizeof(insn[0]));
			return isa_rows[op].wide ? 2 : 1;
		}
		if (r.at > furthest) {
			furthest = r.at;
			expected = stuck;
		}
	}
	return skep_fail(err, -EINVAL,
			 "'%.60s' is no instruction: '%.40s' where '%.40s' could stand", line,
			 furthest, expected);
}
