# SPDX-License-Identifier: Apache-2.0
# Tests, lint, fuzzing and figures. tools/test runs suites, reads their TAP and prints the sum.
OPS ?= 10000000
UNIT_SRC  := $(wildcard tests/unit/*/test_*.c)
UNIT      := $(UNIT_SRC:tests/unit/%.c=$(B)/tests/%)
FUZZ_SRC  := $(wildcard tests/fuzz/fuzz_*.c)
FUZZ      := $(FUZZ_SRC:tests/fuzz/%.c=$(B)/fuzz/%)
BENCH_SRC := $(filter-out %.bpf.c,$(wildcard bench/*.c))
BENCH_BPF := $(patsubst bench/%.bpf.c,build/bpf/bench/%.skel.h,$(wildcard bench/*.bpf.c))
BENCH     := $(BENCH_SRC:bench/%.c=$(B)/bench/%)
FUZZ_SECONDS ?= 60

$(B)/tests/%: tests/unit/%.c $(LIBPARTS) $(B)/page.o
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(CFLAGS) -Itests/unit $(LDFLAGS_$(KIND)) -MMD -MP -MF $@.d -o $@ $< $(LIBPARTS) $(B)/page.o -lcmocka $(LIBS) -lncursesw -ltinfo

# A fuzz target replays its corpus in the ordinary test run; with KIND=fuzz it is a fuzzer.
FUZZ_MAIN := $(if $(filter fuzz,$(KIND)),-fsanitize=fuzzer,tests/fuzz/replay.c)
$(B)/fuzz/%: tests/fuzz/%.c tests/fuzz/replay.c $(LIBPARTS) $(B)/page.o
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS_$(KIND)) -o $@ $< $(FUZZ_MAIN) $(LIBPARTS) $(B)/page.o $(LIBS) -lncursesw -ltinfo

# The oracle of maps: the same operations on maps of the kernel and of the engine. Needs root.
MAPS_SRC := $(wildcard tests/map/*.c)
MAPS_DIFF_SRC := $(filter-out tests/map/ops.bpf.c tests/map/stress.c,$(MAPS_SRC))
MAPS_LIBS := $(B)/map.a $(B)/base.a
MAPS := $(B)/map/diff $(B)/map/stress

build/bpf/tests/map/ops.bpf.o: tests/map/ops.bpf.c tests/map/ops.h | build/.deps-build
	@mkdir -p $(@D)
	$(call say,BPF)
	$(Q)$(CLANG) $(BPF_CFLAGS) -c -o $@.tmp $<
	@bpftool gen object $@ $@.tmp && rm -f $@.tmp

build/bpf/tests/map/ops.skel.h: build/bpf/tests/map/ops.bpf.o
	$(call say,SKEL)
	$(Q)bpftool gen skeleton $< name ops_bpf > $@

$(B)/map/diff: $(MAPS_DIFF_SRC) $(wildcard tests/map/*.h) build/bpf/tests/map/ops.skel.h $(MAPS_LIBS)
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS_$(KIND)) -o $@ $(MAPS_DIFF_SRC) $(MAPS_LIBS) $(filter-out $(SEAM),$(LIBS))

$(B)/map/stress: tests/map/stress.c $(MAPS_LIBS)
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS_$(KIND)) -o $@ $< $(MAPS_LIBS) $(filter-out $(SEAM),$(LIBS))

$(B)/tsan/calls: tests/tsan/calls.c $(ENGINE)
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS_$(KIND)) -o $@ $< -Wl,--start-group $(ENGINE) -Wl,--end-group -lxxhash -lpthread -lm

$(BENCH_BPF:.skel.h=.bpf.o): build/bpf/bench/%.bpf.o: bench/%.bpf.c | build/.deps-build
	@mkdir -p $(@D)
	$(call say,BPF)
	$(Q)$(CLANG) $(BPF_CFLAGS) -Ibench -MMD -MP -MT $@ -MF build/bpf/bench/$*.bpf.d -c -o $@.tmp $<
	@bpftool gen object $@ $@.tmp && rm -f $@.tmp

$(BENCH_BPF): build/bpf/bench/%.skel.h: build/bpf/bench/%.bpf.o
	$(call say,SKEL)
	$(Q)bpftool gen skeleton $< name $*_bench_bpf > $@

$(B)/bench/%: bench/%.c $(LIBPARTS) $(B)/page.o | $(BENCH_BPF)
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(CFLAGS) -Ibench $(LDFLAGS_$(KIND)) -o $@ $< $(LIBPARTS) $(B)/page.o $(LIBS) -lncursesw -ltinfo

# Programs that end-to-end tests run: like other people's, static, with nothing of skep in them.
E2E := $(patsubst tests/e2e/%.c,build/e2e/%,$(filter-out %.bpf.c,$(wildcard tests/e2e/*/*.c)))
build/e2e/%: tests/e2e/%.c | build/.deps-build
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)gcc -std=gnu11 -D_GNU_SOURCE -O2 -Wall -Werror -static -pthread -o $@ $< -lbpf -lelf -lz

# Random programs: kernel against interpreter against JIT.
$(B)/isa/diff: $(wildcard tests/isa/*.[ch]) $(LIBPARTS)
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS_$(KIND)) -o $@ $(filter %.c,$^) $(LIBPARTS) $(LIBS)

.PHONY: unit
unit: $(UNIT) $(FUZZ) $(BENCH) $(MAPS) $(B)/isa/diff $(E2E) $(B)/libskep.a

test: | build/.deps-build build/.deps-test
	@$(MAKE) --no-print-directory -j$$(nproc) KIND=release build/skep unit
	@$(MAKE) --no-print-directory -j$$(nproc) KIND=asan build/asan/skep unit
	@tools/test

test-maps: | build/.deps-build
	@$(MAKE) --no-print-directory KIND=release build/release/map/diff
	@$(SUDO) build/release/map/diff $(OPS)

test-tsan: | build/.deps-build
	@$(MAKE) --no-print-directory KIND=tsan build/tsan/map/stress
	@build/tsan/map/stress 20000

test-tsan-calls: | build/.deps-build
	@$(MAKE) --no-print-directory KIND=tsan build/tsan/tsan/calls
	@build/tsan/tsan/calls

# The engine's tests for another machine, with nothing but the engine in them.
ARM64 := $(patsubst tests/unit/%.c,$(B)/unit/%,$(foreach p,base isa verify jit map,$(wildcard tests/unit/$(p)/test_*.c)) \
	tests/unit/vm/test_interp.c) $(B)/unit/isa/diff
$(B)/unit/%: tests/unit/%.c $(ENGINE)
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(CFLAGS) -Itests/unit $(LDFLAGS_$(KIND)) -o $@ $< $(ENGINE) -lcmocka -lxxhash -lm

$(B)/unit/isa/diff: $(wildcard tests/isa/*.[ch]) $(ENGINE)
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS_$(KIND)) -o $@ $(filter %.c,$^) $(ENGINE) -lxxhash -lm

.PHONY: unit-arm64
unit-arm64: $(ARM64)

test-arm64: | build/.deps-build build/.deps-arm64
	@tools/arm64

lint: | build/.deps-build build/.deps-test
	@tools/lint

test-kernels: build/skep | build/.deps-kernels
	@tools/kernels

test-selftests: build/skep | build/.deps-selftests
	@$(SUDO) tools/selftests $(SUITES)

test-tools: build/skep | build/.deps-tools
	@tools/loads $(TOOLS)

bench: | build/.deps-build build/.deps-bench
	@$(MAKE) --no-print-directory KIND=release build/skep unit
	@$(SUDO) bench/run

fuzz: | build/.deps-build build/.deps-test
	@$(MAKE) --no-print-directory KIND=fuzz $(FUZZ_SRC:tests/fuzz/%.c=build/fuzz/fuzz/%)
	@tools/fuzz $(FUZZ_SECONDS)

demo: build/skep | build/.deps-demo
	@$(SUDO) tools/demo

-include $(wildcard $(B)/tests/*/*.d)
