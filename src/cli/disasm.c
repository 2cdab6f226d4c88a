// SPDX-License-Identifier: Apache-2.0
/*
 * disasm.c: the verb disasm: the instructions of an object file, with its functions, what its
 * relocations name, and source lines where .BTF.ext has them.
 */
#include "cli/cli.h"

#include "cli/term.h"
#include "cli/verb.h"
#include "isa/isa.h"

#include <bpf/btf.h>
#include <fcntl.h>
#include <gelf.h>
#include <libelf.h>

struct line {
	uint32_t section; /* offset of its name in BTF's strings */
	uint32_t insn;
	const char *file, *text;
	uint32_t number;
};

struct object {
	int fd;
	Elf *elf;
	struct btf *btf;
	struct line *lines;
	size_t n_lines;
	Elf_Data *symbols;
	size_t n_symbols, strings; /* strings: section of the symbols' names */
};

/* One section with instructions, while it is printed. */
struct section {
	struct object *o;
	const char *name;
	size_t index;
	struct isa_insn *insns;
	unsigned n;
	const char **refers;	 /* per instruction: the symbol that a relocation names */
	const struct line *line; /* the next one, NULL: no more */
	const struct line *printed;
	char scratch[256];
	bool json;
};

static void object_close(struct object *o)
{
	free(o->lines);
	btf__free(o->btf);
	if (o->elf)
		elf_end(o->elf);
	fd_close(&o->fd);
}

static Elf_Scn *find_section(struct object *o, const char *name, Elf64_Word type)
{
	Elf_Scn *scn = NULL;
	GElf_Shdr head;
	const char *is;
	size_t strings;

	if (elf_getshdrstrndx(o->elf, &strings))
		return NULL;
	while ((scn = elf_nextscn(o->elf, scn))) {
		if (!gelf_getshdr(scn, &head) || head.sh_type != type)
			continue;
		is = elf_strptr(o->elf, strings, head.sh_name);
		if (!name || (is && !strcmp(is, name)))
			return scn;
	}
	return NULL;
}

/* ---- source lines ---------------------------------------------------------------------------- */

static uint32_t word(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static int by_place(const void *a, const void *b)
{
	const struct line *x = a, *y = b;

	if (x->section != y->section)
		return x->section < y->section ? -1 : 1;
	return x->insn < y->insn ? -1 : x->insn > y->insn;
}

static int add_line(struct object *o, uint32_t section, const uint8_t *record)
{
	struct line *more = reallocarray(o->lines, o->n_lines + 1, sizeof(*more));

	if (!more)
		return -ENOMEM;
	o->lines = more;
	more[o->n_lines++] = (struct line){
		.section = section,
		.insn = word(record) / (uint32_t)sizeof(struct bpf_insn),
		.file = btf__name_by_offset(o->btf, word(record + 4)),
		.text = btf__name_by_offset(o->btf, word(record + 8)),
		.number = word(record + 12) >> 10,
	};
	return 0;
}

/* Record size, then for each section: name, count, records. Anything that does not fit ends it. */
static int read_lines(struct object *o, const uint8_t *p, size_t n)
{
	uint32_t size, count, section;
	int rc = 0;

	if (n < 4)
		return 0;
	size = word(p);
	for (p += 4, n -= 4; n >= 8 && size >= 16; n -= (size_t)count * size) {
		section = word(p);
		count = word(p + 4);
		p += 8;
		n -= 8;
		if (count > n / size)
			break;
		for (uint32_t i = 0; i < count && !rc; i++, p += size)
			rc = add_line(o, section, p);
	}
	return rc;
}

/* .BTF.ext: magic, version, flags, header's length, then offset and length of functions and lines. */
static int open_lines(struct object *o)
{
	Elf_Scn *types = find_section(o, ".BTF", SHT_PROGBITS),
		*ext = find_section(o, ".BTF.ext", SHT_PROGBITS);
	Elf_Data *t = types ? elf_getdata(types, NULL) : NULL;
	Elf_Data *e = ext ? elf_getdata(ext, NULL) : NULL;
	uint64_t off, len;
	int rc = 0;

	if (!t || !t->d_buf || !e || !e->d_buf || e->d_size < 24)
		return 0;
	o->btf = btf__new(t->d_buf, (uint32_t)t->d_size);
	if (!o->btf)
		return 0;
	off = (uint64_t)word((uint8_t *)e->d_buf + 4) + word((uint8_t *)e->d_buf + 16);
	len = word((uint8_t *)e->d_buf + 20);
	if (off <= e->d_size && len <= e->d_size - off)
		rc = read_lines(o, (uint8_t *)e->d_buf + off, len);
	if (o->n_lines)
		qsort(o->lines, o->n_lines, sizeof(*o->lines), by_place);
	return rc;
}

/* The first line of a section; lines stand by section and instruction. */
static const struct line *lines_of(const struct object *o, const char *section)
{
	const char *name;

	for (size_t i = 0; i < o->n_lines; i++) {
		name = btf__name_by_offset(o->btf, o->lines[i].section);
		if (name && !strcmp(name, section))
			return &o->lines[i];
	}
	return NULL;
}

/* The line that begins at @pc; called with @pc ascending. */
static const struct line *line_at(struct section *s, unsigned pc)
{
	const struct line *end = s->o->lines + s->o->n_lines, *l = s->line;

	while (l && l < end && l->section == s->line->section && l->insn < pc)
		l++;
	if (!l || l == end || l->section != s->line->section)
		return s->line = NULL;
	s->line = l;
	return l->insn == pc && l->number ? l : NULL; /* 0: the compiler's own */
}

/* ---- symbols --------------------------------------------------------------------------------- */

static int open_symbols(struct object *o)
{
	Elf_Scn *scn = find_section(o, NULL, SHT_SYMTAB);
	GElf_Shdr head;

	if (!scn || !gelf_getshdr(scn, &head) || !head.sh_entsize)
		return 0;
	o->symbols = elf_getdata(scn, NULL);
	o->n_symbols = head.sh_size / head.sh_entsize;
	o->strings = head.sh_link;
	return 0;
}

static const char *symbol_name(const struct object *o, const GElf_Sym *sym)
{
	const char *name = elf_strptr(o->elf, o->strings, sym->st_name);
	GElf_Shdr head;
	Elf_Scn *scn;
	size_t strings;

	if (name && *name)
		return name;
	scn = elf_getscn(o->elf, sym->st_shndx); /* a section's symbol has its name */
	if (!scn || !gelf_getshdr(scn, &head) || elf_getshdrstrndx(o->elf, &strings))
		return NULL;
	return elf_strptr(o->elf, strings, head.sh_name);
}

/* The function that begins at instruction @pc of a section. */
static const char *function_at(const struct object *o, size_t section, int64_t pc)
{
	GElf_Sym sym;

	for (size_t i = 0; o->symbols && i < o->n_symbols; i++)
		if (gelf_getsym(o->symbols, (int)i, &sym) && sym.st_shndx == section &&
		    GELF_ST_TYPE(sym.st_info) == STT_FUNC &&
		    (int64_t)sym.st_value == pc * (int64_t)sizeof(struct bpf_insn))
			return symbol_name(o, &sym);
	return NULL;
}

/* A call into another section names that section, and the function by its immediate. */
static const char *referred(const struct section *s, unsigned pc, const GElf_Sym *sym)
{
	const char *name = NULL;

	if (GELF_ST_TYPE(sym->st_info) == STT_SECTION && s->insns[pc].op == ISA_CALL_LOCAL)
		name = function_at(s->o, sym->st_shndx, (int64_t)s->insns[pc].imm + 1);
	return name ? name : symbol_name(s->o, sym);
}

static void note_relocations(struct section *s, Elf_Data *data, size_t n)
{
	GElf_Rel rel;
	GElf_Sym sym;
	uint64_t pc;

	for (size_t i = 0; data && i < n; i++) {
		if (!gelf_getrel(data, (int)i, &rel))
			continue;
		pc = rel.r_offset / sizeof(struct bpf_insn);
		if (pc < s->n && s->o->symbols &&
		    gelf_getsym(s->o->symbols, (int)GELF_R_SYM(rel.r_info), &sym))
			s->refers[pc] = referred(s, (unsigned)pc, &sym);
	}
}

static void find_references(struct section *s)
{
	Elf_Scn *scn = NULL;
	GElf_Shdr head;

	for (unsigned i = 0; i < s->n; i++)
		if (s->insns[i].op == ISA_CALL_LOCAL)
			s->refers[i] =
				function_at(s->o, s->index, (int64_t)i + 1 + s->insns[i].imm);
	while ((scn = elf_nextscn(s->o->elf, scn)))
		if (gelf_getshdr(scn, &head) && head.sh_type == SHT_REL &&
		    head.sh_info == s->index && head.sh_entsize)
			note_relocations(s, elf_getdata(scn, NULL), head.sh_size / head.sh_entsize);
}

/* ---- printing -------------------------------------------------------------------------------- */

static const char *imm64_name(void *arg, unsigned pc)
{
	struct section *s = arg;

	if (!s->refers[pc])
		return NULL;
	snprintf(s->scratch, sizeof(s->scratch), s->insns[pc].imm ? "%s%+d" : "%s", s->refers[pc],
		 s->insns[pc].imm);
	return s->scratch;
}

static void json_text(struct buf *b, const char *key, const char *value)
{
	if (!value)
		return;
	buf_fmt(b, ",\"%s\":", key);
	buf_json(b, value, strlen(value));
}

static void print_json(struct buf *b, const struct section *s, unsigned pc, const char *function,
		       const struct line *l, const char *text)
{
	buf_str(b, "{\"section\":");
	buf_json(b, s->name, strlen(s->name));
	json_text(b, "function", function);
	buf_fmt(b, ",\"pc\":%u,\"op\":\"%s\"", pc, isa_name(s->insns[pc].op));
	json_text(b, "text", text);
	json_text(b, "refers", s->refers[pc]);
	if (l) {
		json_text(b, "file", l->file);
		buf_fmt(b, ",\"line\":%u", l->number);
		json_text(b, "source", l->text);
	}
	buf_str(b, "}\n");
}

static void add_text(struct buf *b, const char *s)
{
	if (s)
		term_add(b, s, strlen(s), 4096);
}

static void print_line(struct buf *b, const struct line *l)
{
	const char *name = l->file ? strrchr(l->file, '/') : NULL;

	buf_str(b, "; ");
	add_text(b, name ? name + 1 : l->file);
	buf_fmt(b, ":%u: ", l->number);
	add_text(b, l->text ? l->text + strspn(l->text, " \t") : NULL);
	buf_chr(b, '\n');
}

static bool same_line(const struct line *a, const struct line *b)
{
	return b && a->number == b->number && a->file == b->file;
}

static void print_insn(struct buf *b, struct section *s, unsigned pc, const struct line *l,
		       const char *text)
{
	bool call = s->refers[pc] && s->insns[pc].op != ISA_LDDW;

	if (l && !same_line(l, s->printed))
		print_line(b, l);
	s->printed = l ? l : s->printed;
	buf_fmt(b, "%8u: ", pc);
	add_text(b, text);
	if (call) {
		buf_str(b, "\t; ");
		add_text(b, s->refers[pc]);
	}
	buf_chr(b, '\n');
}

static void print_section(struct buf *b, struct section *s)
{
	const struct isa_names names = {.imm64 = imm64_name, .arg = s};
	const char *function = NULL, *begins;
	const struct line *l;
	char text[512];

	for (unsigned pc = 0; pc < s->n; pc++) {
		if (s->insns[pc].op == ISA_NONE)
			continue;
		begins = function_at(s->o, s->index, pc);
		function = begins ? begins : function;
		l = line_at(s, pc);
		isa_text(text, sizeof(text), &s->insns[pc], pc, &names);
		if (begins && !s->json) {
			buf_str(b, "\n");
			add_text(b, begins);
			buf_str(b, ":\n");
			s->printed = NULL;
		}
		if (s->json)
			print_json(b, s, pc, function, l, text);
		else
			print_insn(b, s, pc, l, text);
	}
}

static int decode(struct section *s, const Elf_Data *data, struct skep_err *err)
{
	int rc;

	s->n = (unsigned)(data->d_size / sizeof(struct bpf_insn));
	s->insns = calloc(s->n, sizeof(*s->insns));
	s->refers = calloc(s->n, sizeof(*s->refers));
	if (!s->insns || !s->refers)
		return -ENOMEM;
	rc = isa_decode(data->d_buf, s->n, s->insns, err);
	return rc ? skep_note(err, rc, "section %s", s->name) : 0;
}

static int section(struct object *o, Elf_Scn *scn, const char *name, bool json, struct buf *b,
		   struct skep_err *err)
{
	struct section s = {.o = o,
			    .name = name,
			    .index = elf_ndxscn(scn),
			    .line = lines_of(o, name),
			    .json = json};
	Elf_Data *data = elf_getdata(scn, NULL);
	int rc;

	if (!data || !data->d_buf || !data->d_size)
		return 0;
	rc = decode(&s, data, err);
	if (!rc) {
		find_references(&s);
		if (!json) {
			buf_fmt(b, "%ssection ", b->len ? "\n" : "");
			add_text(b, name);
			buf_chr(b, '\n');
		}
		print_section(b, &s);
	}
	free(s.insns);
	free(s.refers);
	return rc;
}

static int sections(struct object *o, bool json, struct buf *b, struct skep_err *err)
{
	Elf_Scn *scn = NULL;
	GElf_Shdr head;
	const char *name;
	size_t strings;
	int rc = elf_getshdrstrndx(o->elf, &strings) ? -EINVAL : 0;

	while (!rc && (scn = elf_nextscn(o->elf, scn))) {
		if (!gelf_getshdr(scn, &head) || head.sh_type != SHT_PROGBITS ||
		    !(head.sh_flags & SHF_EXECINSTR))
			continue;
		name = elf_strptr(o->elf, strings, head.sh_name);
		rc = section(o, scn, name ? name : "", json, b, err);
	}
	return rc;
}

static int object_open(struct object *o, const char *path, struct skep_err *err)
{
	GElf_Ehdr head;

	o->fd = open(path, O_RDONLY | O_CLOEXEC);
	if (o->fd < 0)
		return skep_fail(err, -EINVAL, "%s: %s", path, strerror(errno));
	elf_version(EV_CURRENT);
	o->elf = elf_begin(o->fd, ELF_C_READ, NULL);
	if (!o->elf || !gelf_getehdr(o->elf, &head) || head.e_machine != EM_BPF)
		return skep_fail(err, -EINVAL, "%s is no BPF object", path);
	if (head.e_ident[EI_DATA] != ELFDATA2LSB)
		return skep_fail(err, -EINVAL, "%s is for machines of the other byte order", path);
	return open_symbols(o);
}

static int disasm(const struct args *a, struct skep_err *err)
{
	cleanup(object_close) struct object o = {.fd = -1};
	cleanup(buf_done) struct buf b = {0};
	int rc = object_open(&o, a->operands[0], err);

	if (!rc)
		rc = open_lines(&o);
	if (!rc)
		rc = sections(&o, a->set[OPTION_JSON], &b, err);
	if (!rc && !b.len)
		rc = skep_fail(err, -ENOENT, "%s has no instructions", a->operands[0]);
	return rc ? rc : term_flush(&b);
}

const struct verb verb_disasm = {
	.name = "disasm",
	.doc = "print the instructions of a BPF object file with its source lines",
	.text = "Every section with instructions, function by function, in the words of the kernel's "
		"log. Source lines stand before the instructions that were made of them, where the "
		"object was compiled with -g.",
	.operand = {.name = "OBJ",
		    .doc = "an ELF file that clang -target bpf made",
		    .required = true},
	.options = {OPTION_JSON},
	.examples =
		{
			{"skep disasm filter.bpf.o", "to read"},
			{"skep disasm --json filter.bpf.o | jq -r .op | sort | uniq -c",
			 "which instructions it uses"},
		},
	.run = disasm,
};
