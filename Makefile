# SPDX-License-Identifier: Apache-2.0
# One Makefile, not recursive; adding a source file edits nothing here. `make help` lists targets.
#
#	src/<part>/*.c      -> build/$(KIND)/<part>.a, linked in the order of FLOORS
#	src/<part>/*.bpf.c  -> build/bpf/<part>/*.bpf.o -> *.skel.h, on the include path as "<part>/x.skel.h"
#	tests/unit/<part>/test_*.c -> build/$(KIND)/tests/<part>/test_*
#	tests/fuzz/fuzz_*.c -> build/$(KIND)/fuzz/fuzz_*  (libFuzzer with KIND=fuzz, else a corpus replayer)
#	bench/*.c           -> build/$(KIND)/bench/*

KIND    ?= release
PREFIX  ?= /usr/local
DESTDIR ?=
DEPS    ?= build
B       := build/$(KIND)
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo 0.1.0)

.DEFAULT_GOAL := all
# Short lines; V=1 shows the commands.
Q   := $(if $(V),,@)
say  = $(if $(V),,@printf '  %-6s %s\n' $(1) $@)
MAKEFLAGS += --no-builtin-rules
.SUFFIXES:
.DELETE_ON_ERROR:

CC      := gcc
CLANG   := clang
CFLAGS_debug   := -O1 -g
CFLAGS_release := -O2 -g -D_FORTIFY_SOURCE=2 -fstack-protector-strong -fPIE
CFLAGS_asan    := -O1 -g -fsanitize=address,undefined -fno-omit-frame-pointer -fno-sanitize-recover=undefined
# It does not understand fences and says so; what they order is atomic anyway.
CFLAGS_tsan    := -O1 -g -fsanitize=thread -Wno-tsan
CFLAGS_fuzz    := -O1 -g -DSKEP_FUZZ -fsanitize=fuzzer-no-link,address,undefined -fno-omit-frame-pointer
LDFLAGS_release := -pie -Wl,-z,relro,-z,now
LDFLAGS_asan    := -fsanitize=address,undefined
LDFLAGS_tsan    := -fsanitize=thread
LDFLAGS_fuzz    := -fsanitize=address,undefined
# The engine alone, for another machine; tools/arm64 fetches the libraries.
CFLAGS_arm64   := -O2 -g -Ibuild/arm64/root/usr/include
LDFLAGS_arm64  := -Lbuild/arm64/root/usr/lib/aarch64-linux-gnu
ifeq ($(KIND),fuzz)
CC := $(CLANG)
else ifeq ($(KIND),arm64)
CC := aarch64-linux-gnu-gcc
endif
ifeq ($(filter $(KIND),debug release asan tsan fuzz arm64),)
$(error KIND is $(KIND), must be debug, release, asan, tsan, fuzz or arm64)
endif

WARN   := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith \
	  -Wwrite-strings -Wundef -Wvla -Wno-missing-field-initializers
CFLAGS := -std=gnu11 -D_GNU_SOURCE $(WARN) $(CFLAGS_$(KIND)) -Iinclude -Isrc -Ibuild/bpf -Ibuild/gen \
	  -DSKEP_VERSION='"$(VERSION)"' $(EXTRA_CFLAGS)
# libbpf's way to bpf(2) leads through src/host/seam.c.
SEAM   := -Wl,--wrap=syscall,--wrap=epoll_ctl,--wrap=statfs64,--wrap=mmap64,--wrap=ioctl,-u,__wrap_syscall
LIBS   := $(SEAM) -Wl,-Bstatic -lbpf -Wl,-Bdynamic -lelf -lz -levent_core -levent_extra -ljansson -lfyaml \
	  -lsqlite3 -lcap-ng -lseccomp -lxxhash -lm
BPF_CFLAGS := -target bpf -mcpu=v3 -O2 -g -Wall -Wextra -Werror -Wno-unused-parameter -Ibpf -Isrc \
	      -I/usr/include/$(shell uname -m)-linux-gnu

# Parts that have a folder, top floor first (the linker's order).
PARTS := $(foreach p,$(shell sed '/^\#/d' FLOORS | tac),$(if $(wildcard src/$(p)/*.c),$(p)))
SRC    = $(filter-out %.bpf.c,$(wildcard src/$(1)/*.c))
BPFSRC := $(wildcard src/*/*.bpf.c)
SKELS  := $(BPFSRC:src/%.bpf.c=build/bpf/%.skel.h)
LIBPARTS := $(PARTS:%=$(B)/%.a)
MAIN_OBJ := $(B)/src/cli/main.o

all: build/skep

help:
	@sed -n 's/^##* *\([a-z-]*\): \(.*\)/  make \1|\2/p' Makefile | column -t -s'|'
## deps: install what packaging/deps lists (DEPS="build test" picks groups)
## all: build build/skep (KIND=debug|release|asan|fuzz)
## lib: build build/libskep.a, the engine to embed
## run: build and run the agent on this host, in the foreground
## demo: a small shop in network namespaces, with the agent and the page open on it
## test: everything CI runs: lint, unit, ASan, end to end, page
## test-maps: the engine's maps against the kernel's, OPS=10000000 operations
## test-tsan: the engine's maps under threads, with ThreadSanitizer
## test-tsan-calls: bpf(2) calls of several threads, with ThreadSanitizer
## test-kernels: the same binary under Debian's 6.1 and 6.12 kernels in qemu
## test-arm64: the engine and its JIT for arm64, under qemu-user
## test-selftests: the kernel's own BPF selftests, on the engine and on the kernel; SUITES="maps insns"
## test-tools: Debian's libbpf-tools on the engine: how many load, how many run
## lint: floors, format, sizes, spelling of the house
## bench: the figures, each as a ratio against a named peer
## fuzz: fuzz each parser for FUZZ_SECONDS (default 60)
## install: DESTDIR= PREFIX=

# ---- build -------------------------------------------------------------------------------------
# A machine that lacks the build packages gets them first; cheap when nothing is missing.
build/.deps-%: packaging/deps tools/deps
	@tools/deps $*
	@mkdir -p $(@D) && touch $@

deps:
	@tools/deps $(DEPS)

build/skep: $(B)/skep FORCE
	@ln -sfn $(KIND)/skep $@

FORCE:

$(B)/skep: $(MAIN_OBJ) $(LIBPARTS) $(B)/page.o
	$(call say,LD)
	$(Q)$(CC) $(LDFLAGS_$(KIND)) -o $@ $(MAIN_OBJ) $(LIBPARTS) $(B)/page.o $(LIBS) -lncursesw -ltinfo

# The engine alone, to embed (docs/engine.md): what include/skep names stays visible, the rest does not.
ENGINE := $(patsubst %,$(B)/%.a,$(filter base isa map jit verify vm,$(PARTS)))
lib: build/libskep.a

$(B)/libskep.a: $(ENGINE)
	$(call say,AR)
	$(Q)$(CC) -r -nostdlib -o $(B)/libskep.o -Wl,-u,skep_engine_open,-u,skep_engine_free,-u,skep_bpf \
		-Wl,--start-group $(ENGINE) -Wl,--end-group
	$(Q)objcopy --wildcard --keep-global-symbol='skep_*' $(B)/libskep.o
	@rm -f $@ && ar rcsD $@ $(B)/libskep.o

build/libskep.a: $(B)/libskep.a FORCE
	@ln -sfn $(KIND)/libskep.a $@

define part_rules
$(B)/$(1).a: $$(patsubst src/%.c,$(B)/src/%.o,$$(filter-out src/cli/main.c,$$(call SRC,$(1))))
	@rm -f $$@ && ar rcsD $$@ $$^
endef
$(foreach p,$(PARTS),$(eval $(call part_rules,$(p))))

$(B)/src/%.o: src/%.c | build/.deps-build $(SKELS)
	@mkdir -p $(@D)
	$(call say,CC)
	$(Q)$(CC) $(CFLAGS) -MMD -MP -c -o $@ $<

$(SKELS:.skel.h=.bpf.o): build/bpf/%.bpf.o: src/%.bpf.c | build/.deps-build
	@mkdir -p $(@D)
	$(call say,BPF)
	$(Q)$(CLANG) $(BPF_CFLAGS) -MMD -MP -MT $@ -MF build/bpf/$*.bpf.d -c -o $@.tmp $<
	@bpftool gen object $@ $@.tmp && rm -f $@.tmp

$(SKELS): build/bpf/%.skel.h: build/bpf/%.bpf.o
	$(call say,SKEL)
	$(Q)bpftool gen skeleton $< name $(subst -,_,$(notdir $*))_bpf > $@

# ---- page --------------------------------------------------------------------------------------
include tools/page.mk

# ---- tests -------------------------------------------------------------------------------------
include tools/test.mk

# ---- use ---------------------------------------------------------------------------------------
SUDO := $(if $(filter 0,$(shell id -u)),,sudo)

run: build/skep
	$(SUDO) build/skep up $(RUN_ARGS)

include tools/install.mk

clean:
	rm -rf build

.PHONY: all lib help deps run demo test test-maps test-tsan test-tsan-calls test-arm64 test-kernels test-selftests lint bench fuzz install clean FORCE

-include $(wildcard $(B)/src/*/*.d) $(wildcard build/bpf/*/*.d)
