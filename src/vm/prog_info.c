// SPDX-License-Identifier: Apache-2.0
#include <endian.h>

#include "vm/inside.h"

/* ---- SHA-1 (FIPS 180-4), for tags -------------------------------------------------------------- */

static uint32_t rol(uint32_t v, unsigned n)
{
	return v << n | v >> (32 - n);
}

static void mix(uint32_t s[5], unsigned i, uint32_t w)
{
	uint32_t f, k, t;

	if (i < 20) {
		f = (s[1] & s[2]) | (~s[1] & s[3]);
		k = 0x5a827999;
	} else if (i < 40) {
		f = s[1] ^ s[2] ^ s[3];
		k = 0x6ed9eba1;
	} else if (i < 60) {
		f = (s[1] & s[2]) | (s[1] & s[3]) | (s[2] & s[3]);
		k = 0x8f1bbcdc;
	} else {
		f = s[1] ^ s[2] ^ s[3];
		k = 0xca62c1d6;
	}
	t = rol(s[0], 5) + f + s[4] + k + w;
	s[4] = s[3];
	s[3] = s[2];
	s[2] = rol(s[1], 30);
	s[1] = s[0];
	s[0] = t;
}

static void sha1_block(uint32_t h[5], const uint8_t p[64])
{
	uint32_t w[80], s[5];
	unsigned i;

	for (i = 0; i < 16; i++) {
		memcpy(&w[i], p + i * 4, 4);
		w[i] = be32toh(w[i]);
	}
	for (; i < 80; i++)
		w[i] = rol(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
	memcpy(s, h, sizeof(s));
	for (i = 0; i < 80; i++)
		mix(s, i, w[i]);
	for (i = 0; i < 5; i++)
		h[i] += s[i];
}

static void sha1(uint32_t h[5], const uint8_t *p, size_t n)
{
	uint8_t last[128] = {0};
	size_t whole = n / 64 * 64, rest = n - whole, end = rest < 56 ? 64 : 128, i;
	uint64_t bits = htobe64((uint64_t)n * 8);

	h[0] = 0x67452301;
	h[1] = 0xefcdab89;
	h[2] = 0x98badcfe;
	h[3] = 0x10325476;
	h[4] = 0xc3d2e1f0;
	for (i = 0; i < whole; i += 64)
		sha1_block(h, p + i);
	memcpy(last, p + whole, rest);
	last[rest] = 0x80;
	memcpy(last + end - 8, &bits, 8);
	for (i = 0; i < end; i += 64)
		sha1_block(h, last + i);
}

/* A digest of the instructions, without the numbers that fds happened to have. */
void vm_prog_tag(struct prog *p, const struct bpf_insn *insns, unsigned n)
{
	cleanup(mem_free) struct bpf_insn *copy = malloc(n * sizeof(*copy));
	uint32_t h[5];
	unsigned i;

	if (!copy)
		return;
	memcpy(copy, insns, n * sizeof(*copy));
	for (i = 0; i + 1 < n; i++) {
		if (copy[i].code != (BPF_LD | BPF_IMM | BPF_DW))
			continue;
		if (copy[i].src_reg == BPF_PSEUDO_MAP_FD || copy[i].src_reg == BPF_PSEUDO_MAP_VALUE)
			copy[i].imm = copy[i + 1].imm = 0;
		i++;
	}
	sha1(h, (const uint8_t *)copy, n * sizeof(*copy));
	h[0] = htobe32(h[0]);
	h[1] = htobe32(h[1]);
	memcpy(p->tag, h, sizeof(p->tag));
}

/* ---- bpf_prog_info -------------------------------------------------------------------------------- */

/* *n elements fit the caller's @to; have @have. Copies what fits and tells how many there are. */
static int answer_array(struct call *c, uint64_t to, uint32_t *n, const void *from, uint32_t have,
			size_t each)
{
	uint32_t fit = min(*n, have);

	*n = have;
	return fit ? vm_call_write(c, to, from, fit * each) : 0;
}

static int answer_maps(struct call *c, struct prog *p, struct bpf_prog_info *info)
{
	uint32_t n = min(info->nr_map_ids, p->n_maps), i;
	int rc = 0;

	for (i = 0; !rc && i < n; i++)
		rc = vm_call_write(c, info->map_ids + i * 4, &p->maps[i]->obj.id, 4);
	info->nr_map_ids = p->n_maps;
	return rc;
}

static int check_sizes(struct bpf_prog_info *info)
{
	if (((info->nr_func_info || info->func_info_rec_size) &&
	     info->func_info_rec_size != sizeof(struct bpf_func_info)) ||
	    ((info->nr_line_info || info->line_info_rec_size) &&
	     info->line_info_rec_size != sizeof(struct bpf_line_info)) ||
	    ((info->nr_jited_line_info || info->jited_line_info_rec_size) &&
	     info->jited_line_info_rec_size != sizeof(uint64_t)))
		return -EINVAL;
	info->func_info_rec_size = sizeof(struct bpf_func_info);
	info->line_info_rec_size = sizeof(struct bpf_line_info);
	info->jited_line_info_rec_size = sizeof(uint64_t);
	return 0;
}

static int answer_lines(struct call *c, struct prog *p, struct bpf_prog_info *info,
			const uint8_t *image, const uint32_t *offsets)
{
	uint32_t n = min(info->nr_jited_line_info, p->n_lines), i;
	int rc = 0;

	for (i = 0; !rc && image && i < n; i++) {
		uint64_t at = (uintptr_t)image + offsets[p->lines[i].insn_off];

		rc = vm_call_write(c, info->jited_line_info + i * 8, &at, 8);
	}
	info->nr_jited_line_info = image ? p->n_lines : 0;
	return rc;
}

/* Machine code: as one piece, and where each function's lies in it. */
static int answer_jited(struct call *c, struct prog *p, struct bpf_prog_info *info)
{
	const struct verify_proof *proof = p->code.proof;
	const uint32_t *offsets = NULL;
	const uint8_t *image = NULL;
	size_t len = 0;
	uint32_t i;
	int rc;

	if (p->code.jit)
		image = jit_image(p->code.jit, &len, &offsets);
	rc = answer_array(c, info->jited_prog_insns, &info->jited_prog_len, image, (uint32_t)len,
			  1);
	for (i = 0; !rc && image && i < proof->n_funcs; i++) {
		uint64_t at = (uintptr_t)image + offsets[proof->funcs[i].start];
		uint32_t size = offsets[proof->funcs[i].end] - offsets[proof->funcs[i].start];

		if (i < info->nr_jited_ksyms)
			rc = vm_call_write(c, info->jited_ksyms + i * 8, &at, 8);
		if (!rc && i < info->nr_jited_func_lens)
			rc = vm_call_write(c, info->jited_func_lens + i * 4, &size, 4);
	}
	info->nr_jited_ksyms = info->nr_jited_func_lens = image ? proof->n_funcs : 0;
	return rc ? rc : answer_lines(c, p, info, image, offsets);
}

static int answer_tags(struct call *c, struct prog *p, struct bpf_prog_info *info)
{
	uint32_t n = info->nr_prog_tags;

	info->nr_prog_tags = 1;
	return n ? vm_call_write(c, info->prog_tags, p->tag, sizeof(p->tag)) : 0;
}

static int fill(struct call *c, struct prog *p, struct bpf_prog_info *info)
{
	uint32_t len = info->xlated_prog_len, all = (uint32_t)(p->n_insns * sizeof(*p->xlated));
	int rc = answer_maps(c, p, info);

	if (!rc)
		rc = check_sizes(info);
	if (!rc && len)
		rc = vm_call_write(c, info->xlated_prog_insns, p->xlated, min(len, all));
	info->xlated_prog_len = all;
	if (!rc)
		rc = answer_jited(c, p, info);
	if (!rc)
		rc = answer_array(c, info->func_info, &info->nr_func_info, p->funcs, p->n_funcs,
				  sizeof(*p->funcs));
	if (!rc)
		rc = answer_array(c, info->line_info, &info->nr_line_info, p->lines, p->n_lines,
				  sizeof(*p->lines));
	return rc ? rc : answer_tags(c, p, info);
}

long vm_prog_info(struct call *c, struct prog *p)
{
	size_t known = offsetof(struct bpf_prog_info, attach_btf_id) + 4;
	uint32_t len = c->attr.a.info.info_len;
	uint64_t to = c->attr.a.info.info;
	struct bpf_prog_info info = {0};
	int rc = vm_call_tail_zero(c, to, known, len);

	if (rc)
		return rc;
	len = min(len, (uint32_t)sizeof(info));
	if (vm_call_read(c, &info, to, len))
		return -EFAULT;
	info.type = p->type;
	info.id = p->obj.id;
	info.load_time = p->load_time;
	info.created_by_uid = p->uid;
	info.gpl_compatible = p->gpl;
	memcpy(info.tag, p->tag, sizeof(info.tag));
	memcpy(info.name, p->name, sizeof(info.name));
	info.run_time_ns = p->run_ns;
	info.run_cnt = p->run_cnt;
	info.recursion_misses = 0;
	info.verified_insns = p->n_insns;
	info.btf_id = p->btf ? vm_btf_object(p->btf)->id : 0;
	info.attach_btf_id = p->attach_btf_id;
	if (p->attach_prog && p->attach_prog->btf)
		info.attach_btf_obj_id = vm_btf_object(p->attach_prog->btf)->id;
	rc = fill(c, p, &info);
	if (rc)
		return rc;
	if (vm_call_write(c, to, &info, len))
		return -EFAULT;
	return vm_call_put(c, info.info_len, len);
}
