// SPDX-License-Identifier: Apache-2.0
/*
 * Packets into balance.bpf.o, backend.bpf.o and backend_tc.bpf.o, interpreted, each access checked: no fault,
 * no read past the packet, each packet moves exactly one counter, and the backend does the same at both hooks. Services of every mode stand in the
 * tables, their rings have changed. With KIND=fuzz the interpreter's jumps are coverage.
 *
 *	input: { length, 2 bytes little endian; frame } ...
 */
#include <bpf/bpf.h>
#include <linux/pkt_cls.h>

#include "balance/backend.skel.h"
#include "balance/backend_tc.skel.h"
#include "balance/simulate.h"
#include "host/host.h"
#include "host/seam.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FRAMES 16
/* Of a frame that a test run makes an skb of. */
#define TC_SHORTEST 54
#define TC_LONGEST  3000

static struct simulate *sim;
static struct backend_bpf *backend;
static struct backend_tc_bpf *backend_tc;

static const char *const modes[] = {"ipip", "gue", "l2", "option"};

static void must(bool holds, const char *what, const struct skep_err *err)
{
	if (holds)
		return;
	fprintf(stderr, "%s: %s\n", what, err ? err->text : "");
	abort();
}

/* One whose backend is this host. */
static void service_here(struct buf *b)
{
	static const struct config_addr own = {.family = 4, .bytes = {10, 0, 0, 9}};

	config_node_set(&own, 1);
	buf_str(b, "---\napiVersion: skep/v1\nkind: Service\nmetadata: {name: here}\nspec:\n"
		   "  mode: gue\n  vips: [\"203.0.113.19:443/tcp\"]\n"
		   "  backends: [{address: 10.0.0.9}]\n");
}

/* Service i has mode i, addresses 203.0.113.1i and 2001:db8:f::1i, and backends of both families. */
static void services(struct buf *b, unsigned weight)
{
	for (unsigned i = 0; i < array_size(modes); i++) {
		bool six = strcmp(modes[i], "option") != 0;

		buf_fmt(b,
			"---\napiVersion: skep/v1\nkind: Service\nmetadata: {name: s%u}\nspec:\n"
			"  mode: %s\n  hash: %s\n  vips: [\"203.0.113.1%u:443/tcp\", "
			"\"203.0.113.1%u:443/udp\", \"203.0.113.1%u:8000-8100/tcp\"",
			i, modes[i], i & 1 ? "source" : "flow", i, i, i);
		if (six)
			buf_fmt(b, ", \"[2001:db8:f::1%u]:443/tcp\", \"[2001:db8:f::1%u]:*/udp\"",
				i, i);
		buf_fmt(b, "]\n  backends:\n    - {address: 10.0.0.1%u, weight: %u}\n", i, weight);
		if (six && strcmp(modes[i], "l2") != 0)
			buf_fmt(b, "    - {address: \"fd00::1%u\"}\n", i);
		else
			buf_fmt(b, "    - {address: 10.0.0.2%u}\n", i);
	}
}

static void apply(unsigned weight)
{
	cleanup(config_done) struct config_set set = {0};
	cleanup(buf_done) struct buf text = {0};
	struct skep_err err = {""};

	services(&text, weight);
	service_here(&text);
	must(!config_read("fuzz", text.data, text.len, &set, NULL, &err), "services", &err);
	must(!(sim ? simulate_apply(sim, &set, &err) : simulate_open(&sim, &set, 1500, &err)),
	     "tables", &err);
}

static void local_add(const void *addr, size_t n)
{
	uint32_t key[4] = {0}, one = 1;

	memcpy(key, addr, n);
	bpf_map_update_elem(bpf_map__fd(backend->maps.local), key, &one, BPF_ANY);
	bpf_map_update_elem(bpf_map__fd(backend_tc->maps.local), key, &one, BPF_ANY);
}

static void locals(void)
{
	static const uint32_t four[] = {0x0a71cb00, 0x0b71cb00, 0x0a00000a};

	for (unsigned i = 0; i < array_size(four); i++)
		local_add(&four[i], 4);
	for (uint8_t i = 10; i < 14; i++) {
		uint8_t six[2][16] = {{0x20, 1, 0x0d, 0xb8, 0, 0x0f}, {0xfd}};

		six[0][15] = six[1][15] = (uint8_t)(i + 6);
		local_add(six[0], 16);
		local_add(six[1], 16);
	}
}

static void begin(void)
{
	static const struct skep_engine_options options = {.interpret = true, .cpus = 1};
	struct skep_engine *engine = NULL;

	must(!skep_engine_open(&engine, &options), "engine", NULL);
	host_use(engine);
	host_bpf_keep();
	apply(1);
	apply(3);
	backend = backend_bpf__open_and_load();
	must(backend, "backend.bpf.o", NULL);
	backend_tc = backend_tc_bpf__open_and_load();
	must(backend_tc, "backend_tc.bpf.o", NULL);
	locals();
}

/* All counters of packets there are; what is forwarded has its own, `sent`. */
static uint64_t counted(void)
{
	const struct maps *m = simulate_maps(sim);
	struct balance_counts totals = maps_totals(m);
	uint64_t sum = 0;
	uint32_t i, r;

	for (r = 1; r < BALANCE_REASONS; r++)
		sum += totals.packets[r];
	for (i = 1; i < 16; i++)
		for (r = 1; r < BALANCE_REASONS; r++)
			sum += m->counts[i].packets[r];
	for (i = 1; i < 32; i++)
		sum += maps_sent(m, i).packets;
	return sum;
}

static void to_balancer(const uint8_t *frame, size_t size)
{
	static struct simulate_result out;
	struct skep_err err = {""};
	uint64_t before = counted();

	must(!simulate_packet(sim, frame, size, &out, &err), "balance", &err);
	must(counted() == before + 1, "counted once", &(struct skep_err){"not so"});
	must(strcmp(out.verdict, "aborted") != 0, "verdict", &(struct skep_err){"aborted"});
}

/* Return: the verdict; what came out is at @out, with its size. */
static int32_t run(int prog, const uint8_t *frame, size_t size, uint8_t *out, uint32_t *n)
{
	LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = frame, .data_size_in = (uint32_t)size,
		    .data_out = out, .data_size_out = SIMULATE_FRAME_MAX);

	must(!bpf_prog_test_run_opts(prog, &o), "backend", &(struct skep_err){"a fault"});
	must(o.data_size_out <= size + 64, "backend", &(struct skep_err){"it grew"});
	*n = o.data_size_out;
	return (int32_t)o.retval;
}

static void to_backend(const uint8_t *frame, size_t size)
{
	static uint8_t out[SIMULATE_FRAME_MAX], out_tc[SIMULATE_FRAME_MAX];
	uint32_t n, n_tc;
	int32_t verdict = run(bpf_program__fd(backend->progs.unpack), frame, size, out, &n);
	int32_t tc;

	if (size < TC_SHORTEST || size > TC_LONGEST)
		return;
	tc = run(bpf_program__fd(backend_tc->progs.unpack), frame, size, out_tc, &n_tc);
	must(tc == (verdict == XDP_PASS	  ? TC_ACT_UNSPEC
		    : verdict == XDP_DROP ? TC_ACT_SHOT
					  : TC_ACT_REDIRECT),
	     "hooks", &(struct skep_err){"another verdict"});
	must(verdict == XDP_DROP || (n == n_tc && !memcmp(out, out_tc, n)), "hooks",
	     &(struct skep_err){"another packet"});
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t at = 0, n;

	if (!sim)
		begin();
	for (unsigned i = 0; i < FRAMES && size - at >= 2; i++) {
		n = data[at] | (size_t)data[at + 1] << 8;
		at += 2;
		n = min(n, size - at);
		if (n >= 14 && n <= SIMULATE_FRAME_MAX - 256) {
			to_balancer(data + at, n);
			to_backend(data + at, n);
		}
		at += n;
	}
	return 0;
}
