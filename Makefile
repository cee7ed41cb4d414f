# SPDX-License-Identifier: GPL-2.0-only
#
# portsteer. `make help` lists the targets; V=1 shows the commands.

VERSION := 0.1.0

ifeq ($(origin CC),default)
CC := gcc
endif
CLANG ?= clang
PREFIX ?= /usr/local
SBINDIR ?= $(PREFIX)/sbin
MANDIR ?= $(PREFIX)/share/man
COMPLETIONDIR ?= $(PREFIX)/share/bash-completion/completions
# Where systemd looks, whatever the prefix.
UNITDIR ?= $(if $(filter /usr,$(PREFIX)),/lib,$(PREFIX)/lib)/systemd/system
STRIP ?= -s
B := build
# For the tests of upgrade, in another B: `build` is a build of the same layout with other
# programs, `layout` one of another layout.
VARIANT ?=
variant := $(VARIANT:build=-DPS_OTHER_BUILD)
variant := $(variant:layout=-DPS_OTHER_LAYOUT)

# The last of the names that is installed, /usr/sbin being searched too: clang's
# tools may be there with a version only, and bpftool is not in a user's PATH.
find_tool = $(lastword $(foreach name,$(1),$(firstword $(wildcard \
	$(addsuffix /$(name),$(subst :, ,$(PATH)) /usr/local/sbin /usr/sbin /sbin)))))
LLVM_STRIP ?= $(call find_tool,llvm-strip-14 llvm-strip-15 llvm-strip-16 llvm-strip-17 \
	llvm-strip-18 llvm-strip-19 llvm-strip-20 llvm-strip-21 llvm-strip-22 llvm-strip-23 \
	llvm-strip)
BPFTOOL ?= $(call find_tool,bpftool)

# --- flags

# The compiler's, and not this machine's: the programs have barriers where that one needs them.
machine := $(firstword $(subst -, ,$(shell $(CC) -dumpmachine)))
ARCH ?= $(patsubst riscv%,riscv,$(patsubst s390%,s390,$(patsubst powerpc%,powerpc,$(patsubst \
	aarch64%,arm64,$(patsubst x86_64,x86,$(patsubst i%86,x86,$(machine)))))))
MULTIARCH := $(shell $(CC) -print-multiarch 2>/dev/null)

BPF_CFLAGS := -O2 -g -mcpu=v3 -target bpf -D__TARGET_ARCH_$(ARCH) -Ivmlinux -Ibpf $(variant) \
	-idirafter /usr/include/$(MULTIARCH) -Wall -Wextra -Werror

WARNINGS := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes \
	-Wold-style-definition -Wformat=2 -Wundef -Wvla -Wcast-align -Wpointer-arith \
	-Wwrite-strings
# Small before fast: what has to be fast is in bpf/.
CFLAGS ?= -Os -g
# As sources write it, so that theirs is no other definition.
COMMON := -std=gnu11 -D_GNU_SOURCE= -DPORTSTEER_VERSION='"$(VERSION)"' \
	-DPS_OBJECTS='"$(B)"' $(variant) -I$(B) -Iuser -I. $(WARNINGS) -MMD -MP
HARDENING := -fstack-protector-strong -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2 -fPIE
# Nobody unwinds the stack of the program; debuggers have their own tables.
SMALL := -fno-asynchronous-unwind-tables -fno-unwind-tables
HARDENING_LD := -pie -Wl,-z,relro,-z,now
SANITISE := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
LDLIBS := -lbpf -lelf -lz -ljson-c

# --- files

SKELETONS := $(B)/host.skel.h $(B)/instance.skel.h $(B)/build_id.h
OBJECTS := host instance $(PACKED_OBJECTS)
# Built into user/kernel/objects.c.
PACKED_OBJECTS := bind connect datagram
PACKED := $(PACKED_OBJECTS:%=$(B)/%.bpf.gz)

# The core does no I/O (but for config_files, which reads files, and patience, which waits) and is
# tested alone, also under the sanitisers.
USER := $(patsubst user/%.c,%,$(wildcard user/*/*.c))
CORE := $(filter util/% rule/% compile/% config/%,$(USER)) os/unit_name os/refusal engine/misfit
LIBRARY := $(filter-out cli/%,$(USER))
UNIT := $(patsubst tests/unit/%.c,%,$(wildcard tests/unit/test_*.c))
BPF_TESTS := $(patsubst tests/bpf/%.c,%,$(wildcard tests/bpf/test_*.c))
TOOLS := $(patsubst tests/tools/%.c,%,$(wildcard tests/tools/*.c))
BATS := $(sort $(wildcard tests/e2e/*.bats))

UNIT_PROGRAMS := $(UNIT:%=$(B)/unit/%)
ASAN_PROGRAMS := $(UNIT:%=$(B)/unit-asan/%)
BPF_PROGRAMS := $(BPF_TESTS:%=$(B)/bpf/%)
TOOL_PROGRAMS := $(TOOLS:%=$(B)/tools/%)

ifeq ($(V),1)
Q :=
say := @:
else
Q := @
say := @printf '  %-8s %s\n'
MAKEFLAGS += --no-print-directory
endif
# A build started from a recipe uses every CPU, unless make was told how many.
submake = $(MAKE) $(if $(findstring -j,$(MAKEFLAGS)),,-j$$(nproc))

.DELETE_ON_ERROR:
.SUFFIXES:
.SECONDARY:
.DEFAULT_GOAL := all
.PHONY: all tests tools demo test test-long test-kernels test-boot test-fresh deb bench bench-report \
	bench-figures bench-bpf bpf-syntax lint check-docs install uninstall clean help

all: $(B)/portsteer ## build build/portsteer (the default)

# --- the BPF objects and their skeletons

$(B)/%.bpf.o: bpf/%.bpf.c Makefile | $(B)/.tools
	$(say) BPF $@
	$(Q)$(CLANG) $(BPF_CFLAGS) -MMD -MP -MT $@ -MF $(@:.o=.d) -c $< -o $@
	$(Q)$(LLVM_STRIP) -g $@

$(B)/%.skel.h: $(B)/%.bpf.o Makefile
	$(say) SKELETON $@
	$(Q)$(BPFTOOL) gen skeleton $< name ps_$*_bpf > $@

$(B)/%.bpf.gz: $(B)/%.bpf.o
	$(say) PACK $@
	$(Q)gzip -9nc $< > $@

# Which build's programs are loaded?
$(B)/build_id.h: $(OBJECTS:%=$(B)/%.bpf.o) Makefile
	$(say) ID $@
	$(Q)id=$$(cat $(filter %.o,$^) | sha256sum | cut -c 1-16) && \
		echo "#define PORTSTEER_BUILD_ID 0x$${id}ULL" > $@

# --- the program

$(B)/user/kernel/objects.o: $(PACKED)

$(B)/user/%.o: user/%.c Makefile | $(B)/.tools $(SKELETONS)
	$(say) CC $@
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(COMMON) $(HARDENING) $(SMALL) $(CFLAGS) -c $< -o $@

$(B)/portsteer: $(USER:%=$(B)/user/%.o)
	$(say) LINK $@
	$(Q)$(CC) $(CFLAGS) $(HARDENING_LD) $(LDFLAGS) $^ $(LDLIBS) -o $@

# --- the tests

$(B)/user-asan/%.o: user/%.c Makefile | $(B)/.tools
	$(say) CC $@
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(COMMON) $(SANITISE) -O1 -g -c $< -o $@

$(B)/unit/%: tests/unit/%.c $(CORE:%=$(B)/user/%.o) Makefile
	$(say) TEST $@
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(COMMON) -Itests/unit $(HARDENING) $(CFLAGS) -MF $@.d \
		$(HARDENING_LD) $< $(filter %.o,$^) -lcmocka -o $@

$(B)/unit-asan/%: tests/unit/%.c $(CORE:%=$(B)/user-asan/%.o) Makefile
	$(say) TEST $@
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(COMMON) -Itests/unit $(SANITISE) -O1 -g -MF $@.d \
		$< $(filter %.o,$^) -lcmocka -o $@

# An archive, so that a test is linked with no more than it uses.
$(B)/libportsteer.a: $(LIBRARY:%=$(B)/user/%.o)
	$(Q)rm -f $@
	$(Q)$(AR) rcs $@ $^

$(B)/bpf/%: tests/bpf/%.c $(B)/libportsteer.a Makefile
	$(say) TEST $@
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(COMMON) -Itests/bpf $(HARDENING) $(CFLAGS) -MF $@.d \
		$(HARDENING_LD) $< $(filter %.a,$^) -lcmocka $(LDLIBS) -pthread -o $@

$(B)/tools/%: tests/tools/%.c Makefile | $(B)/.tools
	$(say) TOOL $@
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(COMMON) $(HARDENING) $(CFLAGS) -MF $@.d $(HARDENING_LD) $< \
		-Wl,--as-needed $(LDLIBS) -pthread -o $@

$(B)/tools/static_server: HARDENING_LD := -static
$(B)/tools/static_server: LDLIBS :=

tests: all $(UNIT_PROGRAMS) $(ASAN_PROGRAMS) $(BPF_PROGRAMS) $(TOOL_PROGRAMS)
	$(say) OTHERS $(B)/others
	$(Q)scripts/build-others

tools: all $(TOOL_PROGRAMS)

# --- what people type

# Packages first: the build needs them, so it is a make of its own.
test: ## install what is missing, build, and run every test
	$(Q)scripts/deps test containers
	$(Q)scripts/fetch-docker-proxy
	$(Q)$(submake) tests
	$(Q)scripts/test

# Hours of what `make test` does for a minute, and all of what it does a sample of.
HOURS ?= 1
LONG := promise kill kill_modes upgrade_kill
test-long: ## test the promise by chance for HOURS=1, from SEED=number on, and each kill
	$(Q)scripts/deps test
	$(Q)$(submake) tests
	$(Q)PROMISE_SECONDS=$$(($(HOURS) * 3600)) SEED=$(SEED) KILL_EVERY=1 \
		scripts/test $(LONG:%=tests/e2e/%.bats)

test-kernels: ## boot Debian's kernels and run the tests in them
	$(Q)scripts/deps test vm
	$(Q)$(submake) tests
	$(Q)scripts/test-kernels

test-boot: deb ## boot a Debian system with the package in it
	$(Q)scripts/deps vm
	$(Q)scripts/test-boot

test-fresh: ## make demo and make test on a fresh Debian; SUITE=bookworm: which
	$(Q)scripts/deps vm
	$(Q)scripts/test-fresh $(SUITE)

demo: ## a web server of an ordinary user answers on port 80
	$(Q)scripts/deps demo
	$(Q)$(submake) all
	$(Q)scripts/demo

bench: ## compare with every other way to a port; QUICK=1: a short run
	$(Q)scripts/deps bench
	$(Q)$(submake) tools
	$(Q)scripts/bench

bench-report: ## write docs/benchmarks.md of what make bench has measured
	$(Q)scripts/deps bench
	$(Q)scripts/bench-report

bench-figures: ## print the figures: lookup, memory, commands, bind and connect mode, nginx
	$(Q)scripts/deps bench
	$(Q)$(submake) tools
	$(Q)status=0; for script in bench-figures bench-apply bench-bind bench-connect bench-nginx; do \
		scripts/$$script || status=$$?; done; exit $$status

bench-bpf: ## what each BPF program costs, beside that of BASE=rev
	$(Q)scripts/deps bench
	$(Q)$(submake) tools
	$(Q)scripts/bench-bpf $(BASE)

lint: ## formatting, static analysis, shell scripts, man pages
	$(Q)scripts/deps lint
	$(Q)$(submake) $(SKELETONS)
	$(Q)scripts/lint

check-docs: all
	$(Q)scripts/check-docs

# What goes where, and with which mode.
INSTALLED := $(SBINDIR)/portsteer $(MANDIR)/man8/portsteer.8 $(MANDIR)/man5/portsteer.conf.5 \
	$(MANDIR)/man5/portsteer-json.5 $(COMPLETIONDIR)/portsteer $(UNITDIR)/portsteer.service

$(B)/portsteer.service: systemd/portsteer.service Makefile
	$(Q)mkdir -p $(@D)
	$(Q)sed 's,@SBINDIR@,$(SBINDIR),' $< > $@

install: all $(B)/portsteer.service ## install below DESTDIR and PREFIX
	$(say) INSTALL "$(INSTALLED:%=$(DESTDIR)%)"
	$(Q)install -D $(STRIP) -m 0755 $(B)/portsteer $(DESTDIR)$(SBINDIR)/portsteer
	$(Q)install -D -m 0644 man/portsteer.8 $(DESTDIR)$(MANDIR)/man8/portsteer.8
	$(Q)install -D -m 0644 man/portsteer.conf.5 $(DESTDIR)$(MANDIR)/man5/portsteer.conf.5
	$(Q)install -D -m 0644 man/portsteer-json.5 $(DESTDIR)$(MANDIR)/man5/portsteer-json.5
	$(Q)install -D -m 0644 completions/portsteer.bash $(DESTDIR)$(COMPLETIONDIR)/portsteer
	$(Q)install -D -m 0644 $(B)/portsteer.service $(DESTDIR)$(UNITDIR)/portsteer.service

uninstall: ## remove what install installed
	$(say) REMOVE "$(INSTALLED:%=$(DESTDIR)%)"
	$(Q)rm -f $(INSTALLED:%=$(DESTDIR)%)

deb: ## build the Debian package, in build/deb
	$(Q)scripts/deps deb
	$(Q)scripts/make-deb

clean: ## remove build/
	$(say) CLEAN $(B)
	$(Q)rm -rf $(B)

help: ## show this
	@echo "Targets of portsteer $(VERSION):"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' Makefile | \
		while IFS='|' read -r target text; do printf '%-20s%s\n' "$$target" "$$text"; done
	@echo "Variables: V=1, QUICK=1, BASE=rev, HOURS=1, SEED=number, PREFIX, DESTDIR, CC, CLANG, CFLAGS, LDFLAGS, BPFTOOL, LLVM_STRIP"

# --- internal

# Is what comes on stdin right for a BPF program? For scripts/lint.
bpf-syntax:
	@$(CLANG) $(BPF_CFLAGS) -fsyntax-only -x c -

# Nothing is installed here, but what is missing has a name.
$(B)/.tools: Makefile
	$(Q)mkdir -p $(B)
	$(Q)scripts/deps --check build '$(CC)' '$(CLANG)' '$(LLVM_STRIP)' '$(BPFTOOL)'
	$(Q)touch $@

-include $(wildcard $(B)/*.d $(B)/*/*.d $(B)/user/*/*.d $(B)/user-asan/*/*.d)
