# SPDX-License-Identifier: Apache-2.0
# Tests, lint, fuzzing and figures. tools/test runs suites, reads their TAP and prints the sum.
UNIT_SRC  := $(wildcard tests/unit/*/test_*.c)
UNIT      := $(UNIT_SRC:tests/unit/%.c=$(B)/tests/%)
FUZZ_SRC  := $(wildcard tests/fuzz/fuzz_*.c)
FUZZ      := $(FUZZ_SRC:tests/fuzz/%.c=$(B)/fuzz/%)
BENCH_SRC := $(filter-out %.bpf.c,$(wildcard bench/*.c))
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

# bench/X.bpf.c becomes build/bpf/bench/X.skel.h.
BENCH_SKELS := $(patsubst bench/%.bpf.c,build/bpf/bench/%.skel.h,$(wildcard bench/*.bpf.c))

build/bpf/bench/%.bpf.o: bench/%.bpf.c | build/.deps-build
	@mkdir -p $(@D)
	$(call say,BPF)
	$(Q)$(CLANG) $(BPF_CFLAGS) -Ibench -MMD -MP -MT $@ -MF build/bpf/bench/$*.bpf.d -c -o $@.tmp $<
	@bpftool gen object $@ $@.tmp && rm -f $@.tmp

build/bpf/bench/%.skel.h: build/bpf/bench/%.bpf.o
	$(call say,SKEL)
	$(Q)bpftool gen skeleton $< name $*_bench_bpf > $@

$(B)/bench/%: bench/%.c $(BENCH_SKELS) $(LIBPARTS) $(B)/page.o
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(CFLAGS) -Ibench $(LDFLAGS_$(KIND)) -o $@ $< $(LIBPARTS) $(B)/page.o $(LIBS) -lncursesw -ltinfo

.PHONY: unit
unit: $(UNIT) $(FUZZ) $(BENCH)

test: | build/.deps-build build/.deps-test
	@$(MAKE) --no-print-directory KIND=asan build/asan/skep unit
	@$(MAKE) --no-print-directory KIND=release build/skep unit
	@tools/test

lint: | build/.deps-build build/.deps-test
	@tools/lint

test-kernels: build/skep | build/.deps-kernels
	@tools/kernels

bench: | build/.deps-build build/.deps-bench
	@$(MAKE) --no-print-directory KIND=release build/skep unit
	@$(SUDO) bench/run

fuzz: | build/.deps-build build/.deps-test
	@$(MAKE) --no-print-directory KIND=fuzz $(FUZZ_SRC:tests/fuzz/%.c=build/fuzz/fuzz/%)
	@tools/fuzz $(FUZZ_SECONDS)

demo: build/skep | build/.deps-demo
	@$(SUDO) tools/demo

-include $(wildcard $(B)/tests/*/*.d)
