# Postern: make run, make check; make help lists the rest.

BUILD_ROOT ?= build
SAN ?=
BUILD = $(if $(SAN),$(BUILD_ROOT)/$(SAN),$(BUILD_ROOT))
DIR ?= var
PORT ?= 2525

CC = gcc
CLANG = clang
PKGS = libcrypto libssl liburing libconfuse libseccomp lmdb jansson libbpf libcurl zlib
SAN_asan = -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
SAN_ubsan = -fsanitize=undefined -fno-sanitize-recover=undefined
SAN_tsan = -fsanitize=thread
SAN_faults = -DPOSTERN_FAULTS
SAN_FLAGS = $(SAN_$(SAN))
WARNINGS = -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wwrite-strings -Werror
HARDEN = -fstack-protector-strong $(if $(SAN),,-D_FORTIFY_SOURCE=2) -fPIE
VERSION = $(shell git describe --always --dirty 2>/dev/null || echo unknown)
CPPFLAGS = -D_GNU_SOURCE -Igateway -I.
CFLAGS = -std=gnu11 -O2 -g $(WARNINGS) $(HARDEN) $(SAN_FLAGS)
LDFLAGS = -pie -Wl,-z,relro,-z,now -pthread $(SAN_FLAGS)
# Evaluated when a recipe runs, so that "make deps" works before pkg-config is there.
PKG_CFLAGS = $(shell pkg-config --cflags $(PKGS))
# libunbound's own file asks for libevent, which nothing here uses.
PKG_LIBS = $(shell pkg-config --libs $(PKGS)) -lunbound -lhttp_parser

ROOMS = base config ring tls smtp sts http fetch stscache tlsrpt policy watch spool relay fence session web accept control
ROOM_SRC = $(foreach room,$(ROOMS),$(wildcard gateway/$(room)/*.c))
MAIN_SRC = $(wildcard gateway/*.c)
ROOM_OBJ = $(ROOM_SRC:%.c=$(BUILD)/obj/%.o)
MAIN_OBJ = $(MAIN_SRC:%.c=$(BUILD)/obj/%.o)
SPOOL_OBJ = $(patsubst %.c,$(BUILD)/obj/%.o,$(wildcard tools/postern-spool*.c) gateway/version.c $(wildcard gateway/base/*.c) \
	$(addprefix gateway/spool/,format.c meta.c scan.c store.c recover.c replay.c aside.c large.c))

PROBE_LIB_OBJ = $(patsubst %.c,$(BUILD)/obj/%.o,$(wildcard tools/probe/*.c))
CTL_OBJ = $(PROBE_LIB_OBJ) $(patsubst %.c,$(BUILD)/obj/%.o,$(wildcard tools/posternctl*.c) gateway/version.c \
	$(wildcard gateway/base/*.c gateway/config/*.c gateway/sts/*.c))
PROBE_OBJ = $(PROBE_LIB_OBJ) $(patsubst %.c,$(BUILD)/obj/%.o,tools/postern-probe.c gateway/version.c $(wildcard gateway/base/*.c gateway/sts/*.c))

PROGRAMS = $(BUILD)/postern $(BUILD)/posternctl $(BUILD)/postern-spool
PROBE = $(BUILD)/postern-probe
UNIT_ROOMS = $(notdir $(patsubst %/,%,$(wildcard tests/unit/*/)))
UNIT_TESTS = $(UNIT_ROOMS:%=$(BUILD)/tests/unit/%)
FUZZERS = $(patsubst tests/fuzz/%.c,$(BUILD_ROOT)/fuzz/%,$(wildcard tests/fuzz/*.c))

BENCH_PROGRAMS = $(BUILD)/postern-load $(BUILD)/postern-sink

.PHONY: all tests sanitized fuzzers FORCE deps run check vm asan ubsan tsan lint fuzz format install clean help
all: $(PROGRAMS) $(PROBE) $(BENCH_PROGRAMS)

include tests/kernel/tests.mk tests/bpf/tests.mk tests/vm/tests.mk bench/bench.mk

tests: all $(UNIT_TESTS) $(KERNEL_TESTS) $(BPF_TESTS) $(VM_PROGRAMS)

# What runs a second time under a sanitizer: the programs and the unit tests.
sanitized: all $(UNIT_TESTS)

$(BUILD)/postern: $(MAIN_OBJ) $(ROOM_OBJ)
	@echo "  LINK  $@"
	@$(CC) $(LDFLAGS) -o $@ $^ $(PKG_LIBS)

$(BUILD)/posternctl: $(CTL_OBJ)
	@echo "  LINK  $@"
	@$(CC) $(LDFLAGS) -o $@ $^ $(shell pkg-config --libs libssl libcrypto libcurl jansson libconfuse) -lunbound

$(BUILD)/postern-spool: $(SPOOL_OBJ)
	@echo "  LINK  $@"
	@$(CC) $(LDFLAGS) -o $@ $^ $(shell pkg-config --libs jansson)

$(PROBE): $(PROBE_OBJ)
	@echo "  LINK  $@"
	@$(CC) $(LDFLAGS) -o $@ $^ $(shell pkg-config --libs libssl libcrypto libcurl jansson) -lunbound
$(BUILD)/tests/unit/probe: $(PROBE_LIB_OBJ)

$(BUILD)/obj/%.o: %.c
	@mkdir -p $(@D)
	@echo "  CC    $@"
	@$(CC) $(CPPFLAGS) $(CFLAGS) $(PKG_CFLAGS) -MMD -MP -c -o $@ $<

# The version goes into one object only, and only a new version rebuilds it.
$(BUILD)/version.h: FORCE
	@mkdir -p $(@D)
	@echo '#define POSTERN_VERSION "$(VERSION)"' > $@.new
	@cmp -s $@.new $@ && rm $@.new || mv $@.new $@
$(BUILD)/obj/gateway/version.o: $(BUILD)/version.h
$(BUILD)/obj/gateway/version.o: CPPFLAGS += -I$(BUILD)
FORCE:

# The fence's programs for the kernel: an object without its debug sections (BTF stays), and the header
# that carries it into gateway/fence/kernel.c. They know no kernel type, so nothing of the running kernel
# is looked at. bpftool lives in sbin, which a user's PATH may lack.
# Without CAP_PERFMON the verifier forbids half a word on the stack where a pointer was before, in 6.1 where a number
# was: so stack slots are not shared, and the fence is for v2, which has no registers of 32 bits to put aside.
BPF_CLANG = $(CLANG) -target bpf -mcpu=v3 -O2 -g -mllvm -no-stack-slot-sharing -Wall -Wextra -Wshadow -Werror -I. \
	-idirafter /usr/include/$(shell $(CC) -print-multiarch)
BPFTOOL = $(firstword $(shell command -v bpftool) /usr/sbin/bpftool)
$(BUILD)/bpf/%.bpf.o: bpf/%.bpf.c
	@mkdir -p $(@D)
	@echo "  BPF   $@"
	@$(BPF_CLANG) -mcpu=v2 -MMD -MP -MF $(@:.o=.d) -c -o $@ $<
	@llvm-strip -g $@
$(BUILD)/bpf/%.skel.h: $(BUILD)/bpf/%.bpf.o
	@$(BPFTOOL) gen skeleton $< name $*_bpf > $@.new
	@mv $@.new $@
.SECONDARY: $(BUILD)/bpf/fence.bpf.o
$(BUILD)/obj/gateway/fence/kernel.o: $(BUILD)/bpf/fence.skel.h
$(BUILD)/obj/gateway/fence/kernel.o: CPPFLAGS += -I$(BUILD)/bpf

# One test program a room: its tests and every room's objects.
define UNIT_RULE
$(BUILD)/tests/unit/$(1): $(patsubst %.c,$(BUILD)/obj/%.o,$(wildcard tests/unit/$(1)/*.c)) $(ROOM_OBJ)
	@mkdir -p $$(@D)
	@echo "  LINK  $$@"
	@$$(CC) $$(LDFLAGS) -o $$@ $$^ $$(PKG_LIBS) $$(shell pkg-config --libs criterion)
endef
$(foreach room,$(UNIT_ROOMS),$(eval $(call UNIT_RULE,$(room))))

# Fuzz targets are clang's, with objects of their own.
FUZZ_FLAGS = -std=gnu11 -O1 -g $(WARNINGS) -fsanitize=address,undefined -fno-sanitize-recover=undefined
FUZZ_OBJ = $(ROOM_SRC:%.c=$(BUILD_ROOT)/fuzz/obj/%.o)
$(BUILD_ROOT)/fuzz/obj/%.o: %.c
	@mkdir -p $(@D)
	@echo "  CLANG $@"
	@$(CLANG) $(CPPFLAGS) $(FUZZ_FLAGS) -fsanitize=fuzzer-no-link $(PKG_CFLAGS) -MMD -MP -c -o $@ $<
$(BUILD_ROOT)/fuzz/obj/gateway/fence/kernel.o: $(BUILD_ROOT)/bpf/fence.skel.h
$(BUILD_ROOT)/fuzz/obj/gateway/fence/kernel.o: CPPFLAGS += -I$(BUILD_ROOT)/bpf
$(BUILD_ROOT)/fuzz/%: tests/fuzz/%.c $(FUZZ_OBJ)
	@echo "  CLANG $@"
	@$(CLANG) $(CPPFLAGS) $(FUZZ_FLAGS) -fsanitize=fuzzer $(PKG_CFLAGS) -MMD -MP -o $@ $< $(FUZZ_OBJ) $(PKG_LIBS) -pthread
# What it looks into stands outside of the rooms.
FUZZ_PROBE_OBJ = $(patsubst %,$(BUILD_ROOT)/fuzz/obj/tools/probe/%.o,ber dialog text)
$(BUILD_ROOT)/fuzz/probe_dialog: FUZZ_OBJ += $(FUZZ_PROBE_OBJ)
$(BUILD_ROOT)/fuzz/probe_dialog: $(FUZZ_PROBE_OBJ)
.SECONDARY: $(FUZZ_OBJ) $(FUZZ_PROBE_OBJ)

fuzzers: $(FUZZERS)

deps:
	@sh tools/deps.sh

run:
	@sh tools/deps.sh build
	@$(MAKE) --no-print-directory all
	@exec sh tools/run.sh $(BUILD) "$(DIR)" "$(PORT)"

check: deps
	@$(MAKE) --no-print-directory -j2 tests fuzzers
	@$(MAKE) --no-print-directory -j2 SAN=asan sanitized
	@$(MAKE) --no-print-directory -j2 SAN=faults all
	@exec tests/check

vm: deps
	@$(MAKE) --no-print-directory all tests
	@exec tests/check vm

asan ubsan: deps
	@$(MAKE) --no-print-directory -j2 SAN=$@ sanitized
	@BUILD=$(BUILD_ROOT)/$@ exec tests/check unit dialog corpus

# Criterion does not start under ThreadSanitizer: the programs run, the unit tests do not.
tsan: deps
	@$(MAKE) --no-print-directory -j2 SAN=tsan all
	@TSAN_OPTIONS=suppressions=$(CURDIR)/tests/tsan.supp BUILD=$(BUILD_ROOT)/tsan \
		exec tests/check dialog corpus

fuzz: deps
	@$(MAKE) --no-print-directory fuzzers
	@exec tests/check fuzz

lint:
	@exec python3 tools/lint.py

format:
	clang-format -i $(wildcard bpf/*.[ch] gateway/*.[ch] gateway/*/*.[ch] tools/*.[ch] tools/*/*.[ch] bench/*/*.[ch] tests/*/*.[ch] tests/unit/*/*.[ch])

PREFIX ?= /usr/local
install: all
	install -d $(DESTDIR)$(PREFIX)/sbin $(DESTDIR)$(PREFIX)/share/man/man5 $(DESTDIR)$(PREFIX)/share/man/man8
	install $(PROGRAMS) $(DESTDIR)$(PREFIX)/sbin
	install -m 644 gateway/man/*.5 $(DESTDIR)$(PREFIX)/share/man/man5
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/share/man/man1
	install $(PROBE) $(BENCH_PROGRAMS) $(DESTDIR)$(PREFIX)/bin
	install -m 644 tools/man/*.1 bench/man/*.1 $(DESTDIR)$(PREFIX)/share/man/man1
	install -m 644 gateway/man/*.8 $(DESTDIR)$(PREFIX)/share/man/man8

clean:
	rm -rf $(BUILD_ROOT)

help:
	@echo 'make run [DIR=var] [PORT=2525]  build and run a gateway on 127.0.0.1, STARTTLS on PORT, TLS on PORT-60'
	@echo 'make check                      every test; the last line is the sum'
	@echo 'make deps                       install what is missing (Debian packages)'
	@echo 'make vm | asan | ubsan | tsan | lint | fuzz    one kind of test'
	@echo 'make bench | bench-full         measure against Postfix, Exim, OpenSMTPD and Haraka, see bench/README.md'
	@echo 'make bench-check                instructions a message against the committed figures'
	@echo 'make install [PREFIX=/usr/local] [DESTDIR=]'

-include $(shell find $(BUILD_ROOT) -path $(BUILD_ROOT)/bench -prune -o -name '*.d' -type f -print 2>/dev/null)
