// SPDX-License-Identifier: Apache-2.0
/* text.c: instructions as text, by the templates of insn.def. */
#include "isa/table.h"

#include <stdarg.h>

/* The header's list has commas of its own where FN takes one argument only. */
#define NAME(name, ...) [BPF_FUNC_##name] = #name __VA_OPT__(, )
static const char *const helpers[] = {__BPF_FUNC_MAPPER(NAME)};
#undef NAME

struct line {
	char *out;
	size_t cap, len;
	const struct isa_insn *insn;
	unsigned pc;
	const struct isa_names *names;
};

printf_like(2, 3) static void add(struct line *l, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(l->out + l->len, l->cap - l->len, fmt, ap);
	va_end(ap);
	if (n > 0)
		l->len = min(l->len + (size_t)n, l->cap - 1);
}

const char *isa_helper_name(int id)
{
	return id > 0 && (size_t)id < array_size(helpers) ? helpers[id] : NULL;
}

static void add_helper(struct line *l, int id)
{
	const struct isa_names *names = l->names;
	const char *name = names && names->helper ? names->helper(names->arg, id) : NULL;

	if (!name)
		name = isa_helper_name(id);
	add(l, name ? "bpf_%s#%d" : "%s#%d", name ? name : "unknown", id);
}

static void add_kfunc(struct line *l, const struct isa_insn *insn)
{
	const struct isa_names *names = l->names;
	const char *name = names && names->kfunc ? names->kfunc(names->arg, insn->imm) : NULL;

	add(l, "%s#%d", name ? name : "kfunc", insn->imm);
	if (insn->off)
		add(l, "@%d", insn->off); /* the module's slot in fd_array */
}

static void add_field(struct line *l, const char *key, size_t n)
{
	const struct isa_insn *i = l->insn;

	if (n == 2)
		add(l, "w%u", key[1] == 'd' ? i->dst : i->src);
	else if (*key == 'd' || *key == 's')
		add(l, "r%u", *key == 'd' ? i->dst : i->src);
	else if (*key == 'i')
		add(l, "%d", i->imm);
	else if (*key == 'x')
		add(l, "0x%x", (unsigned)i->imm);
	else if (*key == 'l')
		add(l, "0x%llx", (unsigned long long)isa_imm64(i));
	else if (*key == 'u')
		add(l, "%u", (unsigned)i[1].imm);
	else if (*key == 'o')
		add(l, "%+d", i->off);
	else if (*key == 'j')
		add(l, "pc%+d", i->off);
	else if (*key == 'g')
		add(l, "pc%+d", i->imm);
	else if (*key == 'h')
		add_helper(l, i->imm);
	else if (*key == 'k')
		add_kfunc(l, i);
}

/* "r1 = " and the name that the caller knows for what an LDDW loads. */
static bool add_named(struct line *l)
{
	const struct isa_names *names = l->names;
	const char *name = names && names->imm64 ? names->imm64(names->arg, l->pc) : NULL;

	if (name)
		add(l, "r%u = %s", l->insn->dst, name);
	return name;
}

size_t isa_text(char *out, size_t cap, const struct isa_insn *insn, unsigned pc,
		const struct isa_names *names)
{
	struct line l = {out, cap, 0, insn, pc, names};
	const struct isa_row *row = insn->op < ISA_OPS ? &isa_rows[insn->op] : &isa_rows[ISA_NONE];
	size_t n;

	if (!cap)
		return 0;
	out[0] = '\0';
	if (row->wide && add_named(&l))
		return l.len;
	for (const char *t = row->text; *t; t += n) {
		n = strcspn(t, "{");
		if (n) {
			add(&l, "%.*s", (int)n, t);
			continue;
		}
		n = strcspn(t, "}") + 1;
		add_field(&l, t + 1, n - 2);
	}
	return l.len;
}
