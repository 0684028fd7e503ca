# SPDX-License-Identifier: MIT
#
# Builds the kernel tests into $(BUILD)/tests/kernel/: one program a .c whose name begins with ktls_ or
# ring_, each with the shared objects. KERNEL_TESTS lists the programs. They stand on OpenSSL and
# liburing alone, never on the gateway (tls_plant* aside): they say what the kernel does, not what we make of it.

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

# The ones that stand on the gateway: our own planting of keys, against an OpenSSL client and server.
TLS_PLANT_ROOMS = $(patsubst %.c,$(BUILD)/obj/%.o,$(wildcard gateway/base/*.c gateway/tls/*.c))
TLS_PLANT_TESTS = $(addprefix $(BUILD)/tests/kernel/,tls_plant tls_plant_client)
$(TLS_PLANT_TESTS:$(BUILD)/tests/kernel/%=$(BUILD)/tests/kernel/obj/%.o): CFLAGS += -Igateway
$(TLS_PLANT_TESTS): $(BUILD)/tests/kernel/%: $(BUILD)/tests/kernel/obj/%.o $(KERNEL_TEST_SHARED) $(TLS_PLANT_ROOMS)
	$(CC) $(CFLAGS) -o $@ $^ $(LDFLAGS) $(shell pkg-config --libs $(KERNEL_TEST_PKGS)) -pthread
KERNEL_TESTS += $(TLS_PLANT_TESTS)

.SECONDARY: $(KERNEL_TESTS:$(BUILD)/tests/kernel/%=$(BUILD)/tests/kernel/obj/%.o)
-include $(wildcard $(BUILD)/tests/kernel/obj/*.d)
