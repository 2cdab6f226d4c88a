// SPDX-License-Identifier: Apache-2.0
/*
 * Objects through libbpf into the engine: what it makes of their ELF, BTF and CO-RE is loaded, and each
 * program that loads is run. What libbpf itself does with a damaged file is not the matter here: that of
 * Debian 12 crashes on damaged BTF, so this is no target of `make fuzz`.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "host/seam.h"
#include "vm/inside.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void run(const struct bpf_program *p)
{
	uint8_t packet[64] = {0}, out[512];
	LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = packet, .data_size_in = sizeof(packet),
		    .data_out = out, .data_size_out = sizeof(out));

	if (bpf_program__fd(p) >= 0)
		bpf_prog_test_run_opts(bpf_program__fd(p), &o);
}

static void load(const uint8_t *data, size_t size)
{
	LIBBPF_OPTS(bpf_object_open_opts, o, .object_name = "fuzz");
	struct bpf_object *obj = bpf_object__open_mem(data, size, &o);
	struct bpf_program *p;

	if (!obj)
		return;
	if (!bpf_object__load(obj))
		bpf_object__for_each_program(p, obj) run(p);
	bpf_object__close(obj);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct skep_engine_options options = {
		.interpret = true, .cpus = 2, .memory_max = 16 << 20};
	struct skep_engine *engine, *before;

	if (skep_engine_open(&engine, &options))
		abort();
	engine->budget = 20000;
	libbpf_set_print(NULL);
	before = host_use(engine);
	load(data, size);
	host_use(before);
	vm_sweep(engine);
	skep_engine_free(engine);
	return 0;
}
