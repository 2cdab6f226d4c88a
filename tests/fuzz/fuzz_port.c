// SPDX-License-Identifier: Apache-2.0
/*
 * Frames into ports, and what an interpreted program makes of them.
 *
 *	input: n, n * 8 bytes of an XDP program, m, m * 8 bytes of a sched_cls program, { length, frame } ...
 *
 * A program that is refused gives way to one that turns on the frame's first byte. Whatever a port is
 * given lies in its buffer.
 */
#include <sys/mman.h>

#include "vm/inside.h"
#include "vm/port.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define PORTS  2
#define FRAMES 8
#define FIRST  1000001 /* ifindex */

static struct skep_engine *engine;
static struct vm_port ports[PORTS];
static uint8_t *buffers;
static int maps[3];

static void check(const struct vm_frame *f)
{
	if (f->len > VM_FRAME_SIZE || f->start > VM_FRAME_SIZE - f->len || f->buf < buffers ||
	    f->buf >= buffers + (size_t)FRAMES * VM_FRAME_SIZE)
		abort();
	for (uint32_t i = 0; i < f->len; i++)
		*(volatile uint8_t *)&f->buf[f->start + i];
}

static int send(struct vm_port *p maybe_unused, struct vm_frame *f, bool keep)
{
	check(f);
	f->taken = !keep;
	return 0;
}

static int pass(struct vm_port *p, struct vm_frame *f)
{
	check(f);
	return p->ifindex == FIRST ? 0 : -EOPNOTSUPP;
}

static const struct vm_port_ops ops = {send, pass, NULL, NULL};

static int map(uint32_t type, uint32_t slot)
{
	union bpf_attr a;
	uint32_t zero = 0, to = FIRST + 1;
	int fd;

	memset(&a, 0, sizeof(a));
	a.map_type = type;
	a.key_size = a.value_size = 4;
	a.max_entries = 2;
	fd = (int)skep_bpf(engine, BPF_MAP_CREATE, &a, sizeof(a));
	memset(&a, 0, sizeof(a));
	a.map_fd = (uint32_t)fd;
	a.key = (uintptr_t)&zero;
	a.value = (uintptr_t)&to;
	skep_bpf(engine, BPF_MAP_UPDATE_ELEM, &a, sizeof(a));
	maps[slot] = fd;
	return fd;
}

#define INSN(c, d, s, o, i)                                                         \
	{                                                                           \
		.code = (c), .dst_reg = (d), .src_reg = (s), .off = (o), .imm = (i) \
	}

/* head or tail of the frame moved, then what the frame says. */
static const struct bpf_insn plain[] = {
	INSN(BPF_ALU64 | BPF_MOV | BPF_X, 6, 1, 0, 0),
	INSN(BPF_LDX | BPF_MEM | BPF_W, 7, 1, 0, 0), /* data */
	INSN(BPF_LDX | BPF_MEM | BPF_B, 8, 7, 0, 0), /* verdict */
	INSN(BPF_LDX | BPF_MEM | BPF_H, 2, 7, 2, 0),
	INSN(BPF_LDX | BPF_MEM | BPF_B, 3, 7, 1, 0),
	INSN(BPF_ALU64 | BPF_ADD | BPF_K, 2, 0, 0, -1024),
	INSN(BPF_JMP | BPF_JSET | BPF_K, 3, 0, 2, 1),
	INSN(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_xdp_adjust_head),
	INSN(BPF_JMP | BPF_JA, 0, 0, 1, 0),
	INSN(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_xdp_adjust_tail),
	INSN(BPF_ALU64 | BPF_MOV | BPF_X, 0, 8, 0, 0),
	INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0),
};
static const struct bpf_insn redirects[] = {
	INSN(BPF_ALU64 | BPF_MOV | BPF_K, 1, 0, 0, FIRST + 1),
	INSN(BPF_ALU64 | BPF_MOV | BPF_K, 2, 0, 0, 0),
	INSN(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_redirect),
	INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0),
};

static int load(uint32_t type, const struct bpf_insn *insns, unsigned n)
{
	union bpf_attr a;

	memset(&a, 0, sizeof(a));
	a.prog_type = type;
	a.insns = (uintptr_t)insns;
	a.insn_cnt = n;
	a.license = (uintptr_t) "GPL";
	return (int)skep_bpf(engine, BPF_PROG_LOAD, &a, sizeof(a));
}

/* The program of the input, its maps the three that there are, or else @plain. */
static int program(uint32_t type, const uint8_t **data, size_t *size,
		   const struct bpf_insn *plain_one, unsigned n_plain)
{
	struct bpf_insn insns[255];
	unsigned n = *size ? (*data)[0] : 0;
	int fd = -1;

	if (*size)
		(*data)++, (*size)--;
	if (n && n * sizeof(*insns) <= *size) {
		memcpy(insns, *data, n * sizeof(*insns));
		*data += n * sizeof(*insns);
		*size -= n * sizeof(*insns);
		for (unsigned i = 0; i < n; i++)
			if (insns[i].code == (BPF_LD | BPF_IMM | BPF_DW) && insns[i].src_reg == 1)
				insns[i].imm = maps[(uint32_t)insns[i].imm % array_size(maps)];
		fd = load(type, insns, n);
	}
	return fd >= 0 ? fd : load(type, plain_one, n_plain);
}

static int attach(int prog, uint32_t ifindex, uint32_t hook)
{
	union bpf_attr a;

	memset(&a, 0, sizeof(a));
	a.link_create.prog_fd = (uint32_t)prog;
	a.link_create.target_ifindex = ifindex;
	a.link_create.attach_type = hook;
	return (int)skep_bpf(engine, BPF_LINK_CREATE, &a, sizeof(a));
}

static void frames(const uint8_t *data, size_t size)
{
	struct vm_frame batch[FRAMES];
	unsigned n = 0;

	while (size > 1 && n < FRAMES) {
		uint32_t len = (uint32_t)min((size_t)data[0] * 16, size - 1);

		batch[n] = (struct vm_frame){.buf = buffers + (size_t)n * VM_FRAME_SIZE,
					     .start = VM_FRAME_HEAD,
					     .len = min(len, VM_FRAME_MAX)};
		memcpy(batch[n].buf + VM_FRAME_HEAD, data + 1, batch[n].len);
		data += 1 + len;
		size -= 1 + len;
		n++;
	}
	vm_ports_begin(engine);
	vm_port_receive(&ports[0], batch, n);
	for (unsigned i = 0; i < n; i++)
		if (!batch[i].taken)
			vm_port_leave(&ports[1], &batch[i]);
	vm_ports_end(engine);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct skep_engine_options options = {
		.interpret = true, .cpus = 2, .memory_max = 16 << 20};
	int fds[8], n = 0;

	if (!buffers)
		buffers = mmap(NULL, (size_t)FRAMES * VM_FRAME_SIZE, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	if (buffers == MAP_FAILED || skep_engine_open(&engine, &options))
		abort();
	engine->budget = 20000;
	for (unsigned i = 0; i < PORTS; i++) {
		ports[i] = (struct vm_port){.ops = &ops, .ifindex = FIRST + i};
		vm_port_add(engine, &ports[i]);
	}
	fds[n++] = map(BPF_MAP_TYPE_DEVMAP, 0);
	fds[n++] = map(BPF_MAP_TYPE_ARRAY, 1);
	fds[n++] = map(BPF_MAP_TYPE_CPUMAP, 2);
	fds[n++] = program(BPF_PROG_TYPE_XDP, &data, &size, plain, array_size(plain));
	fds[n++] = program(BPF_PROG_TYPE_SCHED_CLS, &data, &size, redirects, array_size(redirects));
	fds[n] = attach(fds[n - 2], FIRST, BPF_XDP);
	fds[n + 1] = attach(fds[n - 1], FIRST, VM_TCX_INGRESS);
	fds[n + 2] = attach(fds[n - 1], FIRST + 1, VM_TCX_EGRESS);
	frames(data, size);
	for (n += 2; n >= 0; n--)
		if (fds[n] >= 0)
			close(fds[n]);
	for (unsigned i = 0; i < PORTS; i++)
		vm_port_remove(&ports[i]);
	skep_engine_free(engine);
	return 0;
}
