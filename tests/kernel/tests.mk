# SPDX-License-Identifier: MIT
#
# Builds the kernel tests into $(BUILD)/tests/kernel/: one program a .c whose name begins with ktls_,
# ring_ or bpf_, each with the shared objects. KERNEL_TESTS lists the programs. They stand on OpenSSL,
# liburing and libbpf alone, never on the gateway (tls_plant* aside): they say what the kernel does, not
# what we make of it.

BUILD ?= build
KERNEL_TEST_PKGS = libssl libcrypto liburing
KERNEL_TEST_SHARED = $(addprefix $(BUILD)/tests/kernel/obj/,ktest.o ktest_record.o kring.o)
KERNEL_TEST_NAMES = $(basename $(notdir $(wildcard tests/kernel/ktls_*.c tests/kernel/ring_*.c)))
KERNEL_TESTS = $(addprefix $(BUILD)/tests/kernel/,$(KERNEL_TEST_NAMES))

$(BUILD)/tests/kernel/obj/%.o: tests/kernel/%.c
	@mkdir -p $(@D)
	$(CC) -D_GNU_SOURCE $(CFLAGS) $(shell pkg-config --cflags $(KERNEL_TEST_PKGS)) -MMD -MP -c -o $@ $<

$(KERNEL_TESTS): $(BUILD)/tests/kernel/%: $(BUILD)/tests/kernel/obj/%.o $(KERNEL_TEST_SHARED)
	$(CC) $(CFLAGS) -o $@ $^ $(LDFLAGS) $(shell pkg-config --libs $(KERNEL_TEST_PKGS)) -pthread

# The ones about eBPF, with the small programs of tests/kernel/bpf/ as skeletons.
KERNEL_BPF = $(BUILD)/tests/kernel/obj/bpf
KERNEL_BPF_SKELETONS = $(patsubst tests/kernel/bpf/%.bpf.c,$(KERNEL_BPF)/%.skel.h,$(wildcard tests/kernel/bpf/*.bpf.c))
KERNEL_BPF_SHARED = $(addprefix $(BUILD)/tests/kernel/obj/,kbpf.o kbpf_net.o kmaps.o ktest.o ktest_record.o)
KERNEL_BPF_TESTS = $(addprefix $(BUILD)/tests/kernel/,$(basename $(notdir $(wildcard tests/kernel/bpf_*.c))))
KERNEL_BPF_USERS = $(KERNEL_BPF_TESTS:$(BUILD)/tests/kernel/%=$(BUILD)/tests/kernel/obj/%.o) \
	$(filter %/kbpf.o %/kmaps.o,$(KERNEL_BPF_SHARED))

$(KERNEL_BPF)/%.bpf.o: tests/kernel/bpf/%.bpf.c
	@mkdir -p $(@D)
	$(BPF_CLANG) -Wno-unused-parameter -MMD -MP -MF $(@:.o=.d) -c -o $@ $<

$(KERNEL_BPF)/%.skel.h: $(KERNEL_BPF)/%.bpf.o
	$(BPFTOOL) gen skeleton $< name $*_bpf > $@.new
	mv $@.new $@

$(KERNEL_BPF_USERS): $(KERNEL_BPF_SKELETONS)
$(KERNEL_BPF_USERS): CFLAGS += -I$(KERNEL_BPF)
$(KERNEL_BPF_TESTS): $(BUILD)/tests/kernel/%: $(BUILD)/tests/kernel/obj/%.o $(KERNEL_BPF_SHARED)
	$(CC) $(CFLAGS) -o $@ $^ $(LDFLAGS) $(shell pkg-config --libs libbpf $(KERNEL_TEST_PKGS)) -pthread
KERNEL_TESTS += $(KERNEL_BPF_TESTS)

# The ones that stand on the gateway: our own planting of keys, against an OpenSSL client and server.
TLS_PLANT_ROOMS = $(patsubst %.c,$(BUILD)/obj/%.o,$(wildcard gateway/base/*.c gateway/tls/*.c))
TLS_PLANT_TESTS = $(addprefix $(BUILD)/tests/kernel/,tls_plant tls_plant_client)
$(TLS_PLANT_TESTS:$(BUILD)/tests/kernel/%=$(BUILD)/tests/kernel/obj/%.o): CFLAGS += -Igateway
$(TLS_PLANT_TESTS): $(BUILD)/tests/kernel/%: $(BUILD)/tests/kernel/obj/%.o $(KERNEL_TEST_SHARED) $(TLS_PLANT_ROOMS)
	$(CC) $(CFLAGS) -o $@ $^ $(LDFLAGS) $(shell pkg-config --libs $(KERNEL_TEST_PKGS)) -pthread
KERNEL_TESTS += $(TLS_PLANT_TESTS)

.SECONDARY: $(KERNEL_TESTS:$(BUILD)/tests/kernel/%=$(BUILD)/tests/kernel/obj/%.o) \
	$(KERNEL_BPF_SKELETONS) $(KERNEL_BPF_SKELETONS:.skel.h=.bpf.o)
-include $(wildcard $(BUILD)/tests/kernel/obj/*.d $(KERNEL_BPF)/*.d)
